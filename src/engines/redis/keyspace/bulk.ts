import type { Call } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Commands, Lanes } from '../commands.ts'
import { scannedOf, sizeIn, sizeOf } from './permitted.ts'
import { type Budget, integerOf, requestBudget, walkKeys } from './scan-loop.ts'
import { onlyMatch } from './scan-pattern.ts'
import { Seen } from './seen.ts'
import { bySlices, takeTurns, thenRest, type Turn } from './turns.ts'
import { fromBytes, type RedisValue, toArgument, toBytes } from '../values.ts'

/** What is done to many keys. */
export type Change =
  { readonly kind: 'delete' } | { readonly kind: 'expire'; readonly ttlMs: number } | { readonly kind: 'persist' }

/** Keys by what their names match, and their type. */
export interface Matching {
  readonly pattern: RedisValue
  readonly type?: string | undefined
}

export interface ChangedKeys {
  readonly changed: number
  /** There, but with nothing to change: a key to persist that has no TTL. */
  readonly unchanged: number
  readonly absent: number
}

export interface Preview {
  readonly count: number
  /** The first that were met. */
  readonly sample: readonly RedisValue[]
  readonly scanned: number
  /** `null` for a user without the right to DBSIZE. */
  readonly db_size: number | null
  /** Where the time was over before all keys were looked at, and the count is of those that were; `null` at the end. */
  readonly cursor: string | null
}

/** One batch of a change by pattern. */
export interface Batch {
  /** `null` after the last one. */
  readonly cursor: string | null
  readonly scanned: number
  readonly changed: number
}

/** Changes to many keys at once. */
export interface Bulk {
  change(keys: readonly RedisValue[], change: Change, call: Call): Promise<ChangedKeys>
  /** What a change by pattern would meet from a cursor on, by a bounded walk that changes nothing; `'0'` begins. */
  preview(matching: Matching, cursor: string, call: Call): Promise<Preview>
  /**
   * How many keys there are as a change by pattern begins, `null` for a user without the right to DBSIZE; throws `DB_READ_ONLY` where nothing
   * may be changed.
   */
  begin(change: Change, call: Call): Promise<number | null>
  /** Looks at the next few hundred keys and changes those that match. */
  batch(matching: Matching, change: Change, cursor: string, call: Call): Promise<Batch>
}

const sampleSize = 20
const batchCount = 250
const oneScan: Budget = { rounds: 1, ms: 0 }
const names = { delete: 'unlink', expire: 'pexpire', persist: 'persist' } as const

export function createBulk({ alone }: Lanes): Bulk {
  return {
    change: (keys, change, call) => alone(call, (commands) => changeKeys(commands, keys.map(toBytes), change, call)),
    preview: (matching, cursor, call) =>
      thenRest(call, (turn) => alone(call, (commands) => preview(commands, matching, cursor, call, turn))),
    begin: (change, call) =>
      alone(call, async (commands) => {
        // Without a key: the server refuses it as incomplete, we before that where nothing may be written.
        await commands.each(call, 'writes', [names[change.kind]])
        return await sizeOf(commands, call)
      }),
    batch: (matching, change, cursor, call) =>
      alone(call, (commands) => batch(commands, matching, change, cursor, call)),
  }
}

// One key a command: in a cluster keys of one command must share a slot.
async function changeKeys(
  commands: Commands,
  given: readonly Buffer[],
  change: Change,
  call: Call,
): Promise<ChangedKeys> {
  const keys = [...new Map(given.map((key) => [key.toString('latin1'), key])).values()]
  const persists = change.kind === 'persist'
  const replies = await bySlices(keys, takeTurns(call), async (slice) => {
    const asked = slice.flatMap((bytes): readonly BatchCommand[] => {
      const key = toArgument(fromBytes(bytes))
      return persists ? [['exists', key], commandOf(change, key)] : [commandOf(change, key)]
    })
    return (await commands.send(call, 'writes', ...asked)).map(integerOf)
  })
  const changed = persists ? replies.filter((reply, at) => at % 2 === 1 && reply === 1) : replies.filter((n) => n === 1)
  const present = persists ? replies.filter((reply, at) => at % 2 === 0 && reply === 1).length : changed.length
  return { changed: changed.length, unchanged: present - changed.length, absent: keys.length - present }
}

function commandOf(change: Change, key: string | Buffer): BatchCommand {
  const name = names[change.kind]
  return change.kind === 'expire' ? [name, key, String(change.ttlMs)] : [name, key]
}

async function preview(
  commands: Commands,
  { pattern, type }: Matching,
  cursor: string,
  call: Call,
  turn: Turn,
): Promise<Preview> {
  const bytes = toBytes(pattern)
  const met = new Seen()
  const sample: Buffer[] = []
  const take = (keys: readonly Buffer[]) => {
    for (const key of keys) if (met.add(key) && sample.length < sampleSize) sample.push(key)
    return 'more' as const
  }
  const name = type === undefined ? onlyMatch(bytes) : undefined
  const walked =
    name === undefined
      ? await walkKeys(commands, { ...walkOf(bytes, type, cursor), turn }, take, call, () => batchCount)
      : undefined
  const asked: readonly BatchCommand[] = name === undefined ? [] : [['exists', name]]
  const [counted, exists] = await commands.each(call, 'reads', ['dbsize'], ...asked)
  const size = sizeIn(counted)
  if (exists !== undefined && 'error' in exists) throw exists.error
  if (name !== undefined && Number(exists?.reply) === 1) take([name])
  return {
    count: met.size,
    sample: sample.map((key) => fromBytes(key)),
    scanned: scannedOf(walked?.scanned ?? 1, size),
    db_size: size,
    cursor: walked?.cursor ?? null,
  }
}

function walkOf(pattern: Buffer, type: string | undefined, cursor: string) {
  return { cursor, pattern, type, count: batchCount, budget: requestBudget }
}

async function batch(
  commands: Commands,
  { pattern, type }: Matching,
  change: Change,
  cursor: string,
  call: Call,
): Promise<Batch> {
  const bytes = toBytes(pattern)
  const name = type === undefined ? onlyMatch(bytes) : undefined
  if (name !== undefined) {
    const { changed, absent } = await changeKeys(commands, [name], change, call)
    return { cursor: null, scanned: 1 - absent, changed }
  }
  const found: Buffer[] = []
  const take = (keys: readonly Buffer[]) => {
    found.push(...keys)
    return 'enough' as const
  }
  const walk = { cursor, pattern: bytes, type, count: batchCount, budget: oneScan }
  const walked = await walkKeys(commands, walk, take, call)
  const { changed } = await changeKeys(commands, found, change, call)
  return { ...walked, changed }
}
