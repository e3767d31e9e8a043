import { describe, test } from 'bun:test'
import { stores } from './stores.ts'
import type { Stores } from './stores.ts'

/** A `describe` that needs a store and is handed it; where this machine has none, it is one named skip. */
export function describeWith<Name extends keyof Omit<Stores, 'certificates' | 'folder'>>(
  name: Name,
  label: string,
  body: (store: NonNullable<Stores[Name]>) => void,
): void {
  const store = stores()[name]
  if (store === null) describe(label, () => test.skip(`needs ${name}`, () => {}))
  else describe(label, () => body(store as NonNullable<Stores[Name]>))
}
