import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Commands } from '../commands.ts'
import { notRedis } from '../errors.ts'
import { takeTurns, type Turn } from './turns.ts'

/** Where and how a walk through the keyspace goes. */
export interface Walk {
  /** The server's own cursor; `'0'` begins. A uint64 in decimal, never a number. */
  readonly cursor: string
  readonly pattern?: string | Buffer | undefined
  readonly type?: string | undefined
  /** COUNT of the first SCAN; later ones ask for up to 500. */
  readonly count: number
  readonly budget: Budget
  /** Between two SCANs. */
  readonly turn?: Turn
}

/** What one request may look at: whichever ends first. */
export interface Budget {
  readonly rounds: number
  readonly ms: number
}

/** Where a walk stopped. */
export interface Walked {
  /** `null` after the last key. */
  readonly cursor: string | null
  /** Keys looked at, about. */
  readonly scanned: number
}

/**
 * What becomes of the keys of one SCAN: `more` takes them and goes on, `enough` takes them and ends; `too many` leaves them where they
 * are, so that a later walk from the cursor meets them again.
 */
export type Taken = 'more' | 'enough' | 'too many'

/** A request's walk: up to 100,000 keys in a quarter of a second. */
export const requestBudget: Budget = { rounds: 200, ms: 250 }

// More at once is felt by other callers.
const maxCount = 500
const maxOvershoot = 10
const minOvershoot = 1_000
const growth = 4

/**
 * Walks by SCAN until `take` has enough, the budget is spent or the keyspace ends. `wanted` says how many more keys are welcome, from which
 * and from what was found COUNT is chosen; where one SCAN alone gives too many, it is asked again for fewer, and `isLeast` says that it can
 * not be for fewer still.
 */
export async function walkKeys(
  commands: Commands,
  walk: Walk,
  take: (keys: readonly Buffer[], isLeast: boolean) => Taken | Promise<Taken>,
  call: Call,
  wanted?: () => number,
): Promise<Walked> {
  const options = [
    ...(walk.pattern === undefined ? [] : ['MATCH', walk.pattern]),
    ...(walk.type === undefined ? [] : ['TYPE', walk.type]),
  ]
  const until = performance.now() + walk.budget.ms
  const { turn = takeTurns(call) } = walk
  let { cursor } = walk
  let count = Math.min(maxCount, walk.count)
  let [scanned, found, hasTaken] = [0, 0, false]
  for (let round = 0; round < walk.budget.rounds; round++) {
    if (round > 0) await turn()
    const [reply] = await commands.send(call, 'reads', ['scan', cursor, ...options, 'COUNT', String(count)])
    const [next, keys] = scanReply(reply, count)
    const taken = await take(keys, count === 1 && !hasTaken)
    if (taken === 'too many') {
      if (hasTaken) break
      // Less than one bucket can not be asked for, and no bucket is that long.
      if (count === 1) throw overlong()
      count = count >> 1
      continue
    }
    hasTaken ||= keys.length > 0
    cursor = next
    scanned += count
    found += keys.length
    if (cursor === '0' || taken === 'enough' || performance.now() >= until) break
    count = nextCount(count, wanted?.(), found / scanned)
  }
  return { cursor: cursor === '0' ? null : cursor, scanned }
}

function nextCount(count: number, wanted: number | undefined, density: number): number {
  const most = Math.min(maxCount, count * growth)
  if (wanted === undefined || density === 0) return most
  return Math.max(1, Math.min(most, Math.ceil(wanted / density)))
}

function scanReply(reply: Reply | undefined, count: number): readonly [cursor: string, keys: readonly Buffer[]] {
  const [cursor, keys] = Array.isArray(reply) ? (reply as readonly Reply[]) : []
  if (!(cursor instanceof Buffer) || !Array.isArray(keys)) throw notRedis()
  // SCAN answers a few more than asked for, never many times as many; the caller bounds the count, a hostile server nothing.
  if (keys.length > count * maxOvershoot + minOvershoot) throw overlong()
  return [cursor.toString('latin1'), keys as readonly Buffer[]]
}

/** An integer reply as a number: of keys, milliseconds or bytes. */
export function integerOf(reply: Reply | undefined): number {
  const text = String(reply)
  if (!/^-?\d{1,19}$/.test(text)) throw notRedis()
  return Number(text)
}

function overlong(): ApiError {
  return new ApiError('RESULT_TOO_LARGE', 'The server answered SCAN with far more keys than were asked for.')
}
