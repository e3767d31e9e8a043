import type { AbstractCursor } from 'mongodb'
import { failed } from '../dial-errors.ts'

// A server may send a few, as when a shard has nothing yet; one that sends nothing else would keep us asking.
const maxEmptyBatches = 100

/** What a cursor finds, until the signal aborts or the caller has enough; the cursor is closed then. The cursor needs the same signal. */
export async function* entriesOf<T>(
  cursor: Pick<AbstractCursor<T>, 'tryNext' | 'close' | 'closed'>,
  signal: AbortSignal,
): AsyncGenerator<T, void> {
  try {
    for (let empty = 0; empty <= maxEmptyBatches; empty++) {
      signal.throwIfAborted()
      const entry = await cursor.tryNext()
      if (entry === null && cursor.closed) return
      if (entry === null) continue
      empty = -1
      yield entry
    }
    throw failed('protocol', 'The server sends one empty batch after the other.')
  } finally {
    await cursor.close().catch(() => undefined)
  }
}
