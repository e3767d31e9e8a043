import { Backoff } from '../engines/backoff.ts'

/** Databases that could not be connected, each by the version that was tried: a changed one may be tried at once. */
export class Backoffs {
  readonly #failing = new Map<string, { readonly version: number; readonly backoff: Backoff }>()

  get size(): number {
    return this.#failing.size
  }

  /** Throws the last failure while its delay lasts. */
  check(id: string, version: number): void {
    const known = this.#failing.get(id)
    if (known?.version === version) known.backoff.check()
  }

  failed(id: string, version: number, error: unknown): void {
    const known = this.#failing.get(id)
    const backoff = known?.version === version ? known.backoff : new Backoff()
    backoff.failed(error)
    this.#failing.set(id, { version, backoff })
  }

  forget(id: string): void {
    this.#failing.delete(id)
  }
}
