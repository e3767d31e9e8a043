import { ApiError, invalid, withOptions } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import type { Commands, Lanes, Outcome } from '../commands.ts'
import { notRedis, replyCode, translate } from '../errors.ts'
import { explained } from './reasons.ts'
import type { Allowed } from './run.ts'
import { type RedisValue, toArgument, toBytes } from '../values.ts'

/** What must hold of a key for a transaction to run, and go on to hold until it has. */
export type Watched =
  | { readonly key: RedisValue; readonly ifEqual: RedisValue }
  | { readonly key: RedisValue; readonly ifAbsent: true }
  | { readonly key: RedisValue; readonly ifType: string }

/** MULTI and EXEC. */
export interface Transactions {
  /**
   * Runs all commands or none, as one; each result with its error in place. `DB_CONFLICT` where a watched key is not as it must be, or
   * changed meanwhile; a command that Redis does not take at all is refused with its `index` in `details`; `VALIDATION_FAILED` where many of
   * them are long, for all others wait until the last has run. Nothing ran then.
   */
  transact(commands: Allowed, watched: readonly Watched[], call: Call): Promise<readonly Outcome[]>
}

const maxWalks = 32

export function createTransactions({ shared, alone }: Lanes): Transactions {
  let mayBegin = false
  return {
    async transact(allowed, watched, call) {
      if (allowed.walks > maxWalks)
        throw invalid(
          'commands',
          `must have at most ${maxWalks} that Redis does not call fast; POST pipeline takes more`,
        )
      return await alone(call, async (commands) => {
        // Behind a MULTI that the user's ACL refuses, each command would run for itself.
        if (!mayBegin) await commands.send(call, 'reads', ['multi'], ['discard'])
        mayBegin = true
        if (watched.length > 0) await assertUnchanged(commands, watched, call)
        const effect = allowed.writes ? 'writes' : 'reads'
        const [begun, ...outcomes] = await commands.each(call, effect, ['multi'], ...allowed.batch, ['exec'])
        mayBegin = begun !== undefined && 'reply' in begun
        if (!mayBegin) throw notBegun()
        return resultsOf(outcomes, (error, index) => explained(shared, error, allowed.names[index] ?? ''))
      })
    },
  }
}

type Explain = (error: Error, index: number) => Error

function notBegun(): ApiError {
  const message =
    'Redis refused MULTI, which it took before: the commands may have run one by one. Look before you try again.'
  return new ApiError('DB_QUERY_ERROR', message, { details: { code: 'NOPERM' } })
}

async function assertUnchanged(commands: Commands, watched: readonly Watched[], call: Call): Promise<void> {
  const questions = watched.map(question)
  const watches = watched.map(({ key }): BatchCommand => ['watch', toArgument(key)])
  await commands.send(call, 'reads', ...watches)
  const outcomes = await commands.each(call, 'reads', ...questions.flat())
  let next = 0
  for (const [index, condition] of watched.entries()) {
    const replies = outcomes.slice(next, (next += questions[index]?.length ?? 0))
    if (!holds(condition, replies))
      throw new ApiError('DB_CONFLICT', `The key of watch ${index} is not as the transaction needs it; nothing ran.`, {
        details: { reason: 'condition', index },
      })
  }
}

/** Asks for no more of a value than is compared. */
function question(condition: Watched): readonly BatchCommand[] {
  const key = toArgument(condition.key)
  if (!('ifEqual' in condition)) return [['type', key]]
  return [
    ['type', key],
    ['getrange', key, '0', String(toBytes(condition.ifEqual).length)],
  ]
}

function holds(condition: Watched, [type, value]: readonly Outcome[]): boolean {
  const found = replyOf(type)
  if (!(found instanceof Buffer)) throw notRedis()
  if ('ifAbsent' in condition) return found.equals(Buffer.from('none'))
  if ('ifType' in condition) return found.equals(Buffer.from(condition.ifType))
  if (!found.equals(Buffer.from('string'))) return false
  const bytes = replyOf(value)
  return bytes instanceof Buffer && bytes.equals(toBytes(condition.ifEqual))
}

// A key that is no string refuses GETRANGE, which its type has told already.
function replyOf(outcome: Outcome | undefined): Reply | undefined {
  if (outcome === undefined || 'reply' in outcome) return outcome?.reply
  if (replyCode(outcome.error.cause) === 'WRONGTYPE') return undefined
  throw outcome.error
}

function resultsOf(outcomes: readonly Outcome[], explain: Explain): readonly Outcome[] {
  const queued = outcomes.slice(0, -1)
  const refused = queued.findIndex((outcome) => 'error' in outcome)
  const exec = outcomes.at(-1)
  if (exec === undefined) throw notRedis()
  if ('error' in exec) throw refusal(exec.error, queued[refused], refused, explain)
  if (exec.reply === null)
    throw new ApiError('DB_CONFLICT', 'A watched key was changed meanwhile; nothing ran. Try again.', {
      retryable: true,
      details: { reason: 'changed' },
    })
  if (!Array.isArray(exec.reply)) throw notRedis()
  return (exec.reply as readonly Reply[]).map((reply, index) =>
    reply instanceof Error ? { error: explain(translate(reply), index) } : { reply },
  )
}

function refusal(exec: Error, outcome: Outcome | undefined, index: number, explain: Explain): Error {
  if (outcome === undefined || !('error' in outcome)) return explain(exec, -1)
  const error = explain(outcome.error, index)
  if (!(error instanceof ApiError)) return exec
  const options = { details: { ...(error.details as object | undefined), index } }
  if (error.code !== 'DB_QUERY_ERROR') return withOptions(error, options)
  return new ApiError('DB_QUERY_ERROR', `Redis refused command ${index}, and nothing ran.`, {
    ...options,
    cause: error,
  })
}
