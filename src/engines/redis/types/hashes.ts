import { ApiError } from '../../../errors.ts'
import type { Call, Limits } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Lanes } from '../commands.ts'
import { type HashEntry, type HashPage, type HashPageRequest, readHashPage, replyOf, ttlsIn } from './hash-pages.ts'
import { capped, leftOut } from './hash-values.ts'
import { bytesIn, listIn } from '../replies.ts'
import { fromBytes, type RedisValue, toArgument, toBytes } from '../values.ts'
import { writeAtOnce, writeWatched } from './watched.ts'
import { noSuchKey } from '../errors.ts'

export interface HashFieldRequest extends Pick<HashPageRequest, 'key' | 'encoding' | 'fieldTtls'> {
  readonly field: RedisValue
}

export interface HashEdit {
  readonly key: RedisValue
  readonly set?: readonly { readonly field: RedisValue; readonly value: RedisValue }[] | undefined
  readonly remove?: readonly RedisValue[] | undefined
  /** Fields that are there stay as they are. */
  readonly onlyNew?: boolean | undefined
  /** Nothing is written unless the hash is there. */
  readonly mustExist?: boolean | undefined
}

/** What became of the fields; `skipped` are those a condition kept from being set. */
export interface HashEdited {
  readonly created: number
  readonly updated: number
  readonly skipped: number
  readonly removed: number
  readonly length: number
}

export interface HashIncrement {
  readonly key: RedisValue
  readonly field: RedisValue
  readonly by: string
  readonly float: boolean
}

export interface HashTtlRequest {
  readonly key: RedisValue
  readonly fields: readonly RedisValue[]
  /** `null` lets them live for ever. */
  readonly ttlMs: number | null
  readonly condition?: 'nx' | 'xx' | 'gt' | 'lt' | undefined
}

/** What became of a field's TTL: `unchanged` where the condition forbade it, or there was none to take away. */
export type TtlOutcome = 'changed' | 'unchanged' | 'absent'

/** Hashes; each throws `DB_QUERY_ERROR` for a key of another type. */
export interface Hashes {
  /** Longer than asked for by a few at the most, never than 1,000; `RESULT_TOO_LARGE` may be asked again for a smaller share. */
  page(request: HashPageRequest, call: Call): Promise<HashPage>
  /** One field; throws `NOT_FOUND`. A value above the cap is not read. */
  field(request: HashFieldRequest, call: Call): Promise<{ readonly entry: HashEntry; readonly length: number }>
  /** All of it or nothing. */
  edit(request: HashEdit, call: Call): Promise<HashEdited>
  /** Answers the new value, in decimal. */
  increment(request: HashIncrement, call: Call): Promise<string>
  /** In the order of the fields; throws `NOT_FOUND`. */
  setTtl(request: HashTtlRequest, call: Call): Promise<readonly TtlOutcome[]>
}

// A larger value is read on a connection of its own: it may have grown since its size was asked for.
const sharedValueBytes = 65_536

export function createHashes(lanes: Lanes, limits: Limits): Hashes {
  const { shared, alone } = lanes
  return {
    page: (request, call) => alone(call, (commands) => readHashPage(commands, limits, request, call)),
    field,
    edit,
    increment,
    setTtl,
  }

  async function field({ key: name, field: wanted, encoding, fieldTtls }: HashFieldRequest, call: Call) {
    const [key, field] = [toArgument(name), toArgument(wanted)]
    const about: BatchCommand[] = [
      ['hlen', key],
      ['hexists', key, field],
      ['hstrlen', key, field],
    ]
    if (fieldTtls) about.push(['hpttl', key, 'FIELDS', '1', field])
    const outcomes = await shared.each(call, 'reads', ...about)
    const [length, isThere, size] = outcomes.slice(0, 3).map((outcome) => Number(replyOf(outcome)))
    if (length === undefined || size === undefined || length === 0) throw noSuchKey()
    const ttls = ttlsIn(outcomes[3])
    if (isThere === 0 || (ttls !== undefined && ttls[0] === undefined)) throw noSuchField()
    const get: BatchCommand = ['hget', key, field]
    const read = async () => {
      if (size > limits.maxValueBytes) return leftOut(size)
      const [value] = await (size <= sharedValueBytes
        ? shared.send(call, 'reads', get)
        : alone(call, (commands) => commands.send(call, 'reads', get)))
      if (value === null) throw noSuchField()
      return capped(bytesIn(value), limits.maxValueBytes, encoding)
    }
    const entry: HashEntry = { field: fromBytes(toBytes(wanted), encoding), ...(await read()) }
    return { entry: ttls?.[0] === undefined ? entry : { ...entry, ttl_ms: ttls[0] }, length }
  }

  async function edit(request: HashEdit, call: Call): Promise<HashEdited> {
    const key = toArgument(request.key)
    const { set = [], remove = [], onlyNew = false } = request
    const pairs = set.map((entry) => [toArgument(entry.field), toArgument(entry.value)] as const)
    const setting: BatchCommand[] = onlyNew
      ? pairs.map(([field, value]) => ['hsetnx', key, field, value])
      : pairs.length === 0
        ? []
        : [['hset', key, ...pairs.flat()]]
    const removing: BatchCommand[] = remove.length === 0 ? [] : [['hdel', key, ...remove.map(toArgument)]]
    const writes = [...setting, ...removing]
    const batch: BatchCommand[] = [...writes, ['hlen', key]]
    const answer = (replies: readonly unknown[]): HashEdited => {
      const counts = replies.map(Number)
      const created = counts.slice(0, setting.length).reduce((sum, count) => sum + count, 0)
      const existed = set.length - created
      return {
        created,
        updated: onlyNew ? 0 : existed,
        skipped: onlyNew ? existed : 0,
        removed: removing.length === 0 ? 0 : (counts[setting.length] ?? 0),
        length: counts.at(-1) ?? 0,
      }
    }
    if (request.mustExist) {
      return writeWatched(lanes, call, key, [['hlen', key]], ([length]) =>
        Number(length) > 0
          ? { writes: batch, answer }
          : { writes: [], answer: () => ({ created: 0, updated: 0, skipped: set.length, removed: 0, length: 0 }) },
      )
    }
    return answer(await (writes.length === 1 ? shared.send(call, 'writes', ...batch) : writeAtOnce(lanes, call, batch)))
  }

  async function increment({ key, field, by, float }: HashIncrement, call: Call): Promise<string> {
    const command = float ? 'hincrbyfloat' : 'hincrby'
    const [value] = await shared.send(call, 'writes', [command, toArgument(key), toArgument(field), by])
    return value instanceof Buffer ? value.toString('latin1') : String(value)
  }

  async function setTtl({ key: name, fields, ttlMs, condition }: HashTtlRequest, call: Call) {
    const key = toArgument(name)
    const named = ['FIELDS', String(fields.length), ...fields.map(toArgument)]
    const flags = condition === undefined ? [] : [condition.toUpperCase()]
    const command: BatchCommand =
      ttlMs === null ? ['hpersist', key, ...named] : ['hpexpire', key, String(ttlMs), ...flags, ...named]
    const [length, outcomes] = await shared.send(call, 'writes', ['hlen', key], command)
    if (Number(length) === 0) throw noSuchKey()
    return listIn(outcomes).map((code) => ttlOutcomes.get(Number(code)) ?? 'unchanged')
  }
}

// HPEXPIRE: -2 no field, 0 forbidden by the condition, 1 set, 2 deleted; HPERSIST: -2 no field, -1 no TTL, 1 done.
const ttlOutcomes: ReadonlyMap<number, TtlOutcome> = new Map([
  [-2, 'absent'],
  [1, 'changed'],
  [2, 'changed'],
])

function noSuchField(): ApiError {
  return new ApiError('NOT_FOUND', 'The hash has no such field.')
}
