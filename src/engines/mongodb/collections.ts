import type { Db } from 'mongodb'
import { ApiError } from '../../errors.ts'
import { entriesOf } from './cursor.ts'

export interface CollectionEntry {
  readonly name: string
  /** `collection`, `view` or `timeseries`. */
  readonly type: string
}

export interface ListBounds {
  readonly maxBytes: number
  readonly maxTimeMS: number
  readonly signal: AbortSignal
}

const maxEntries = 10_000

/** Collections by name. `RESULT_TOO_LARGE` above 1,000 or `maxBytes` of JSON: the server has no order to page by. */
export async function listCollections(
  db: Db,
  { maxBytes, maxTimeMS, signal }: ListBounds,
): Promise<readonly CollectionEntry[]> {
  const options = { nameOnly: true, authorizedCollections: true, maxTimeMS, signal } as const
  const entries: CollectionEntry[] = []
  let size = 0
  for await (const { name, type } of entriesOf(db.listCollections({}, options), signal)) {
    if (entries.length === maxEntries)
      throw new ApiError('RESULT_TOO_LARGE', `The database has more than ${maxEntries} collections.`, {
        details: { max_entries: maxEntries },
      })
    const entry = { name: String(name), type: String(type ?? 'collection') }
    size += jsonBytes(entry)
    if (size > maxBytes) throw tooLarge(maxBytes)
    entries.push(entry)
  }
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The value itself, unless its JSON is longer. */
export function withinBytes<T>(value: T, maxBytes: number): T {
  if (jsonBytes(value) > maxBytes) throw tooLarge(maxBytes)
  return value
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}

function tooLarge(maxBytes: number): ApiError {
  return new ApiError('RESULT_TOO_LARGE', `The server's answer is larger than ${maxBytes} bytes.`, {
    details: { max_bytes: maxBytes },
  })
}
