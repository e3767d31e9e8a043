import type { AbstractCursor } from 'mongodb'
import { failed } from '../dial-errors.ts'

// A server may send a few, as when a shard has nothing yet; one that sends nothing else would keep us asking.
const maxEmptyBatches = 100

type Cursor<T> = Pick<AbstractCursor<T>, 'tryNext' | 'readBufferedDocuments' | 'close' | 'closed'>

/** What a cursor finds, until the signal aborts or the caller has enough; the cursor is closed then. The cursor needs the same signal. */
export async function* entriesOf<T>(cursor: Cursor<T>, signal: AbortSignal): AsyncGenerator<T, void> {
  for await (const batch of batchesOf(cursor, signal)) yield* batch
}

/** The same, batch by batch as the server sends them, none empty: a promise for each document is what costs most of a large page. */
export async function* batchesOf<T>(cursor: Cursor<T>, signal: AbortSignal): AsyncGenerator<readonly T[], void> {
  try {
    for (let empty = 0; empty <= maxEmptyBatches; empty++) {
      signal.throwIfAborted()
      const entry = await cursor.tryNext()
      if (entry === null && cursor.closed) return
      if (entry === null) continue
      empty = -1
      yield [entry, ...cursor.readBufferedDocuments()]
    }
    throw failed('protocol', 'The server sends one empty batch after the other.')
  } finally {
    await cursor.close().catch(() => undefined)
  }
}

/** Batches of a cursor with `raw`, whose type does not say that they are bytes. */
export function rawBatchesOf(cursor: Cursor<unknown>, signal: AbortSignal): AsyncIterable<readonly Uint8Array[]> {
  return batchesOf(cursor as Cursor<Uint8Array>, signal)
}
