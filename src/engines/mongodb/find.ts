import type { Abortable, Db } from 'mongodb'
import { failed } from '../dial-errors.ts'
import { rawBatchesOf } from './cursor.ts'
import type { BSON } from './driver.ts'

export interface Find {
  readonly filter: object
  /** `sort`, `hint`, `min` and `skip` of the command. */
  readonly order: object
  readonly limit: number
}

/** What bounds a find on the server, and who waits for it. */
export interface Asking {
  readonly maxTimeMS: number
  readonly signal: AbortSignal
}

/**
 * What a find gives, as the bytes the server sent, batch by batch. One command where the first batch is all, as with nearly every page: the
 * driver's cursor costs a small one more than the server does. Where it is not, the page is read anew by a cursor.
 */
export async function* findBatches(
  db: Db,
  collection: string,
  { filter, order, limit }: Find,
  asking: () => Asking,
): AsyncGenerator<readonly Uint8Array[], void> {
  const { maxTimeMS, signal } = asking()
  const command = { find: collection, filter, ...order, limit, batchSize: limit, maxTimeMS }
  const options: Abortable & BSON.DeserializeOptions = { signal, fieldsAsRaw: { firstBatch: true } }
  const { cursor } = await db.command(command, { ...options, readPreference: db.readPreference })
  const { id, firstBatch } = (cursor ?? {}) as { id?: unknown; firstBatch?: unknown }
  if (!Array.isArray(firstBatch)) throw failed('protocol', 'The server answers a find as no MongoDB does.')
  if (String(id) === '0') return yield firstBatch as Uint8Array[]
  // Left alone it would be open for ten minutes; that it could not be closed is nothing to its reader.
  await db
    .command({ killCursors: collection, cursors: [id] }, { signal, readPreference: db.readPreference })
    .catch(() => undefined)
  const rest = db.collection(collection).find(filter, { ...order, ...asking(), limit, batchSize: limit, raw: true })
  yield* rawBatchesOf(rest, signal)
}
