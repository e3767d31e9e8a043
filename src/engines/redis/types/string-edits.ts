import { ApiError, invalid } from '../../../errors.ts'
import type { Call, Limits } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import type { Lanes, Outcome } from '../commands.ts'
import { notRedis } from '../errors.ts'
import { jsonSize } from '../run/json-size.ts'
import { explained } from '../run/reasons.ts'
import { ttlOf } from '../keyspace/keys.ts'
import { type Encoding, fromBytes, type RedisValue, toArgument, toBytes } from '../values.ts'
import { writeWatched } from './watched.ts'

/** How long what is written lives: for ever unless one of them is set. */
export interface Keeping {
  readonly ttlMs?: number | undefined
  readonly keepTtl?: boolean | undefined
}

export interface Taken {
  readonly value: RedisValue
  readonly ttl_ms: number | null
}

/** One of several values; `missing` says why there is no `value`. */
export interface ManyEntry {
  readonly key: RedisValue
  readonly value: RedisValue | null
  readonly size_bytes: number | null
  readonly missing: 'absent' | 'wrong_type' | 'too_large' | null
}

/** What changes a string value by what it holds, and what reads several. All throw `DB_QUERY_ERROR` for a key of another type. */
export interface StringEdits {
  /** Answers the value's size in bytes from then on. */
  append(key: RedisValue, value: RedisValue, call: Call): Promise<number>
  /** The same; `VALIDATION_FAILED` for an offset beyond the end, which the server would fill with as many zeros. */
  setRange(key: RedisValue, offset: number, value: RedisValue, call: Call): Promise<number>
  /** Answers the new number as the server writes it. */
  increment(key: RedisValue, by: string, isFloat: boolean, call: Call): Promise<string>
  /** Writes and answers what was there, `null` for nothing; `RESULT_TOO_LARGE`, and nothing written, when that is above the cap. */
  exchange(key: RedisValue, value: RedisValue, keeping: Keeping, encoding: Encoding, call: Call): Promise<Taken | null>
  /** The same for deleting it. */
  take(key: RedisValue, encoding: Encoding, call: Call): Promise<Taken | null>
  /** Writes if the value is `expected`, `null` for no key; answers whether it was. */
  compareAndSet(
    key: RedisValue,
    expected: RedisValue | null,
    value: RedisValue,
    keeping: Keeping,
    call: Call,
  ): Promise<boolean>
  /** Values in the order of the keys; `RESULT_TOO_LARGE` when they are more than one answer may hold. */
  many(keys: readonly RedisValue[], encoding: Encoding, call: Call): Promise<readonly ManyEntry[]>
}

export function createStringEdits(lanes: Lanes, { maxValueBytes, maxResponseBytes }: Limits): StringEdits {
  const { shared, alone } = lanes
  return { append, setRange, increment, exchange, take, compareAndSet, many }

  async function append(key: RedisValue, value: RedisValue, call: Call): Promise<number> {
    const [size] = await shared.send(call, 'writes', ['append', toArgument(key), toArgument(value)])
    return Number(size)
  }

  function setRange(name: RedisValue, offset: number, value: RedisValue, call: Call): Promise<number> {
    const key = toArgument(name)
    return writeWatched(lanes, call, key, [['strlen', key]], ([size]) => {
      if (offset > Number(size)) throw invalid('offset', 'must not be beyond the end of the value')
      return {
        writes: [['setrange', key, String(offset), toArgument(value)]],
        answer: ([written]) => Number(written),
      }
    })
  }

  async function increment(key: RedisValue, by: string, isFloat: boolean, call: Call): Promise<string> {
    const name = isFloat ? 'incrbyfloat' : 'incrby'
    // No number, or one that would be too large: only Redis knows which.
    const [outcome] = await shared.each(call, 'writes', [name, toArgument(key), by])
    if (outcome === undefined) throw notRedis()
    if ('error' in outcome) throw explained(shared, outcome.error, name)
    return String(outcome.reply)
  }

  async function exchange(name: RedisValue, value: RedisValue, keeping: Keeping, encoding: Encoding, call: Call) {
    const key = toArgument(name)
    return replacing(key, ['set', key, toArgument(value), ...flagsOf(keeping)], encoding, call)
  }

  async function take(name: RedisValue, encoding: Encoding, call: Call): Promise<Taken | null> {
    const key = toArgument(name)
    return replacing(key, ['unlink', key], encoding, call)
  }

  // SET … GET and GETDEL answer a value of any size, when it is too late to refuse it.
  function replacing(key: string | Buffer, write: BatchCommand, encoding: Encoding, call: Call): Promise<Taken | null> {
    const reads: readonly BatchCommand[] = [
      ['getrange', key, '0', String(maxValueBytes)],
      ['pttl', key],
    ]
    return writeWatched(lanes, call, key, reads, ([bytes, ttl]) => {
      if (!(bytes instanceof Buffer)) throw notRedis()
      if (bytes.length > maxValueBytes) throw tooLarge('The value that is there is', maxValueBytes)
      const isThere = String(ttl) !== '-2'
      const taken = isThere ? { value: fromBytes(bytes, encoding), ttl_ms: ttlOf(String(ttl)) } : null
      return { writes: isThere || write[0] === 'set' ? [write] : [], answer: () => taken }
    })
  }

  function compareAndSet(
    name: RedisValue,
    expected: RedisValue | null,
    value: RedisValue,
    keeping: Keeping,
    call: Call,
  ): Promise<boolean> {
    const key = toArgument(name)
    const bytes = expected === null ? null : toBytes(expected)
    const reads: readonly BatchCommand[] = [
      ['getrange', key, '0', String(bytes?.length ?? 0)],
      ['exists', key],
    ]
    return writeWatched(lanes, call, key, reads, ([found, exists]) => {
      const isThere = String(exists) !== '0'
      const isEqual = bytes === null ? !isThere : isThere && found instanceof Buffer && bytes.equals(found)
      if (!isEqual) return { writes: [], answer: () => false }
      return { writes: [['set', key, toArgument(value), ...flagsOf(keeping)]], answer: () => true }
    })
  }

  function many(names: readonly RedisValue[], encoding: Encoding, call: Call): Promise<readonly ManyEntry[]> {
    const keys = names.map(toArgument)
    return alone(call, async (commands) => {
      const asked = keys.flatMap((key): BatchCommand[] => [
        ['strlen', key],
        ['exists', key],
      ])
      const told = await commands.each(call, 'reads', ...asked)
      const entries = names.map((key, index) => describe(key, told[index * 2], told[index * 2 + 1]))
      const wanted = entries.flatMap((entry, index) => (entry.missing === null ? [index] : []))
      const total = wanted.reduce((sum, index) => sum + (entries[index]?.size_bytes ?? 0), 0)
      if (total > maxResponseBytes) throw tooLarge('The values together are', maxResponseBytes)
      let left = maxResponseBytes - aroundMany
      const ranges = wanted.map((index): BatchCommand => [
        'getrange',
        keys[index] ?? '',
        '0',
        String(maxValueBytes - 1),
      ])
      const values = ranges.length === 0 ? [] : await commands.send(call, 'reads', ...ranges)
      const byIndex = new Map(wanted.map((index, place) => [index, values[place]]))
      return entries.map((entry, index) => {
        const key = encoding === 'utf8' ? entry.key : fromBytes(toBytes(entry.key), encoding)
        const value = byIndex.get(index)
        left -= Buffer.byteLength(JSON.stringify({ ...entry, key })) + 1
        if (value instanceof Buffer) left -= jsonSize(value, encoding)
        if (left < 0) throw tooLarge('The values together are as JSON', maxResponseBytes)
        return { ...entry, key, value: valueOf(value, encoding) }
      })
    })
  }

  function describe(key: RedisValue, size: Outcome | undefined, exists: Outcome | undefined): ManyEntry {
    if (size === undefined || exists === undefined || 'error' in exists) throw (exists as { error: Error })?.error
    const none = { key, value: null, size_bytes: null }
    if ('error' in size) {
      const { details } = size.error as Partial<ApiError>
      if ((details as { readonly code?: string } | undefined)?.code !== 'WRONGTYPE') throw size.error
      return { ...none, missing: 'wrong_type' }
    }
    if (String(exists.reply) === '0') return { ...none, missing: 'absent' }
    const bytes = Number(size.reply)
    return { ...none, size_bytes: bytes, missing: bytes > maxValueBytes ? 'too_large' : null }
  }
}

const aroundMany = '{"data":[]}'.length

function valueOf(reply: Reply | undefined, encoding: Encoding): RedisValue | null {
  return reply instanceof Buffer ? fromBytes(reply, encoding) : null
}

function flagsOf({ ttlMs, keepTtl }: Keeping): readonly string[] {
  return ttlMs === undefined ? (keepTtl ? ['KEEPTTL'] : []) : ['PX', String(ttlMs)]
}

function tooLarge(what: string, maxBytes: number): ApiError {
  return new ApiError('RESULT_TOO_LARGE', `${what} larger than ${maxBytes} bytes, the most one answer may hold.`)
}
