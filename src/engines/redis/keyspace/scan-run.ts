import type { Call } from '../../engine.ts'
import type { Batch } from './bulk.ts'
import { scannedOf } from './permitted.ts'
import { takeTurns } from './turns.ts'

/** How far a change by pattern has come. */
export interface Progress {
  readonly scanned: number
  /** Keys there were at the start; `null` for a user without the right to DBSIZE. */
  readonly db_size: number | null
  readonly changed: number
  readonly ms: number
  readonly done: boolean
}

const tellEveryMs = 250

/**
 * Runs batch after batch and tells of the first, then four times a second, and of the last. Rests between them as
 * `takeTurns` has it; ends within a batch once the caller has left.
 */
export async function* runBatches(
  batch: (cursor: string) => Promise<Batch>,
  dbSize: number | null,
  call: Call,
): AsyncGenerator<Progress, undefined> {
  const started = performance.now()
  const turn = takeTurns(call)
  let [scanned, changed, toldAt] = [0, 0, Number.NEGATIVE_INFINITY]
  let cursor: string | null = '0'
  const progress = (done: boolean): Progress => ({
    scanned: scannedOf(scanned, dbSize),
    db_size: dbSize,
    changed,
    ms: Math.round(performance.now() - started),
    done,
  })
  for (;;) {
    const did: Batch = await batch(cursor)
    scanned += did.scanned
    changed += did.changed
    cursor = did.cursor
    if (cursor === null) break
    const ended = performance.now()
    if (ended - toldAt >= tellEveryMs) {
      toldAt = ended
      yield progress(false)
    }
    await turn()
  }
  yield progress(true)
  return undefined
}
