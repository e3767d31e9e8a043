import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import type { Commands, Lanes } from '../commands.ts'
import { notRedis, translate } from '../errors.ts'
import { goOn } from '../keyspace/turns.ts'

/** What is to be written on what was read; nothing where there are no writes. */
export interface Decision<T> {
  readonly writes: readonly BatchCommand[]
  /** Of the writes' replies. */
  readonly answer: (replies: readonly Reply[]) => T
}

const maxAttempts = 10

/** Writes all of it or nothing by MULTI: no reader sees a part. Answers the writes' replies; the first error among them is thrown. */
export function writeAtOnce(lanes: Lanes, call: Call, writes: readonly BatchCommand[]): Promise<readonly Reply[]> {
  return lanes.alone(call, async (commands) => (await execute(lanes, commands, call, writes)) ?? [])
}

/** Reads, decides and writes as one step by WATCH: begins anew when the key changed in between, `DB_CONFLICT` when it did every time. */
export function writeWatched<T>(
  lanes: Lanes,
  call: Call,
  key: string | Buffer,
  reads: readonly BatchCommand[],
  decide: (replies: readonly Reply[]) => Decision<T>,
): Promise<T> {
  return lanes.alone(call, async (commands) => {
    // Whatever is read: refused where it would write nothing, too.
    await commands.send(call, 'writes')
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      if (attempt > 0) goOn(call, 'The caller left, or its time ran out. Nothing was written.')
      // By itself: a cluster may send it elsewhere, and what is read must not be read before.
      await commands.send(call, 'reads', ['watch', key])
      const { writes, answer } = decide(await commands.send(call, 'reads', ...reads))
      // The connection's return to its pool ends the watch.
      if (writes.length === 0) return answer([])
      const done = await execute(lanes, commands, call, writes)
      if (done !== null) return answer(done)
    }
    const message = 'Others changed the key again and again meanwhile; nothing was written. Try again.'
    throw new ApiError('DB_CONFLICT', message)
  })
}

/** The databases whose user has begun a transaction before. */
const begins = new WeakSet<Lanes>()

/** `null` when what was watched has changed. */
async function execute(
  lanes: Lanes,
  commands: Commands,
  call: Call,
  writes: readonly BatchCommand[],
): Promise<readonly Reply[] | null> {
  // Behind a MULTI that the user's ACL refuses, each command would run for itself.
  if (!begins.has(lanes)) await commands.send(call, 'reads', ['multi'], ['discard'])
  begins.add(lanes)
  const outcomes = await commands.each(call, 'writes', ['multi'], ...writes, ['exec'])
  const [begun] = outcomes
  if (begun === undefined || 'error' in begun) {
    begins.delete(lanes)
    throw notBegun(begun?.error)
  }
  const refused = outcomes.find((outcome) => 'error' in outcome)
  if (refused !== undefined) throw refused.error
  const last = outcomes.at(-1)
  const done = last && 'reply' in last ? last.reply : undefined
  if (done === null) return null
  if (!Array.isArray(done)) throw notRedis()
  const failure = (done as readonly Reply[]).find((reply) => reply instanceof Error)
  if (failure !== undefined) throw translate(failure)
  return done as readonly Reply[]
}

function notBegun(cause: unknown): ApiError {
  const message = 'Redis refused MULTI, which it took before: a part may have been written. Look before you try again.'
  return new ApiError('DB_QUERY_ERROR', message, { cause, details: { code: 'NOPERM' } })
}
