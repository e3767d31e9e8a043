import { ApiError } from '../../../errors.ts'
import type { Call, Limits } from '../../engine.ts'
import type { Lanes } from '../commands.ts'
import { noSuchKey, notRedis } from '../errors.ts'
import { ttlOf } from '../keyspace/keys.ts'
import { type Encoding, fromBytes, type RedisValue, toArgument, toBytes } from '../values.ts'

export interface StringEntry {
  readonly key: RedisValue
  readonly type: 'string'
  readonly value: RedisValue
  readonly ttl_ms: number | null
}

/** Bytes from `start` to `end`, both counted; `size_bytes` is the whole value's. */
export interface StringRange extends StringEntry {
  readonly size_bytes: number
  readonly start: number
  /** The last byte that was read; `null` where there was none. */
  readonly end: number | null
}

export interface RangeRequest {
  readonly key: RedisValue
  readonly start: number
  /** No further than the most one answer may hold, which is also the default. */
  readonly end?: number | undefined
  readonly encoding: Encoding
}

export interface SetRequest {
  readonly key: RedisValue
  readonly value: RedisValue
  readonly ttlMs?: number | undefined
  readonly nx?: boolean | undefined
  readonly xx?: boolean | undefined
  readonly keepTtl?: boolean | undefined
}

/** String values. */
export interface Strings {
  /** A string value; throws `NOT_FOUND`, `DB_QUERY_ERROR` for another type, `RESULT_TOO_LARGE`. */
  get(key: RedisValue, encoding: Encoding, call: Call): Promise<StringEntry>
  /** A piece of a string value of any size; throws as `get` does. */
  range(request: RangeRequest, call: Call): Promise<StringRange>
  /** Answers whether the value was written: `nx` and `xx` may forbid it. */
  set(request: SetRequest, call: Call): Promise<boolean>
}

export function createStrings({ shared, alone }: Lanes, limits: Limits): Strings {
  const maxValueBytes = String(limits.maxValueBytes)
  return { get, range, set }

  function get(name: RedisValue, encoding: Encoding, call: Call): Promise<StringEntry> {
    const key = toArgument(name)
    // A range of one byte more than the cap, so that a huge value costs neither side more; both in one pipeline.
    const asked = shared.send(call, 'reads', ['pttl', key], ['getrange', key, '0', maxValueBytes])
    return asked.then(([ttl, bytes]) => {
      if (!(bytes instanceof Buffer)) throw notRedis()
      if (Number(ttl) === -2) throw noSuchKey()
      if (bytes.length > limits.maxValueBytes) return refuseLength(key, bytes.length, call)
      const entry: StringEntry = {
        key: encoding === 'utf8' ? name : fromBytes(toBytes(name), encoding),
        type: 'string',
        value: fromBytes(bytes, encoding),
        ttl_ms: ttlOf(Number(ttl)),
      }
      return bytes.length === 0 ? stillThere(key, entry, call) : entry
    })
  }

  // A key that went between the two commands reads like an empty value.
  async function stillThere(key: string | Buffer, entry: StringEntry, call: Call): Promise<StringEntry> {
    const [found] = await shared.send(call, 'reads', ['exists', key])
    if (found === '0') throw noSuchKey()
    return entry
  }

  async function refuseLength(key: string | Buffer, read: number, call: Call): Promise<never> {
    const [length] = await shared.send(call, 'reads', ['strlen', key])
    throw new ApiError(
      'RESULT_TOO_LARGE',
      `The value is larger than ${limits.maxValueBytes} bytes, the most one answer may hold.`,
      { details: { size_bytes: Math.max(read, Number(length)) } },
    )
  }

  async function range({ key: name, start, end, encoding }: RangeRequest, call: Call): Promise<StringRange> {
    const key = toArgument(name)
    const last = Math.min(end ?? Number.MAX_SAFE_INTEGER, start + limits.maxValueBytes - 1)
    const [bytes, size, ttl] = await alone(call, (commands) =>
      commands.send(call, 'reads', ['getrange', key, String(start), String(last)], ['strlen', key], ['pttl', key]),
    )
    if (!(bytes instanceof Buffer)) throw notRedis()
    if (Number(ttl) === -2) throw noSuchKey()
    return {
      key: encoding === 'utf8' ? name : fromBytes(toBytes(name), encoding),
      type: 'string',
      value: fromBytes(bytes, encoding),
      ttl_ms: ttlOf(Number(ttl)),
      size_bytes: Number(size),
      start,
      end: bytes.length === 0 ? null : start + bytes.length - 1,
    }
  }

  function set(request: SetRequest, call: Call): Promise<boolean> {
    const flags: string[] = []
    const [key, value] = [toArgument(request.key), toArgument(request.value)]
    if (request.ttlMs !== undefined) flags.push('PX', String(request.ttlMs))
    if (request.keepTtl) flags.push('KEEPTTL')
    if (request.nx) flags.push('NX')
    if (request.xx) flags.push('XX')
    return shared.send(call, 'writes', ['set', key, value, ...flags]).then(([reply]) => reply !== null)
  }
}
