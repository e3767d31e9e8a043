import type { BatchCommand, Reply } from '../wire/batch.ts'
import { notRedis, replyTooLarge } from '../errors.ts'
import { withinAnswer } from '../types/hash-values.ts'
import { type Encoding, fromBytes, type RedisValue, toArgument } from '../values.ts'

export interface FieldValue {
  readonly field: RedisValue
  readonly value: RedisValue
}

export interface ScoredMember {
  readonly member: RedisValue
  /** As the server says it: a number may be `inf`. */
  readonly score: string
}

export interface StreamEntry {
  readonly id: string
  readonly fields: readonly FieldValue[]
}

/** A whole value with its type. A stream's entry without an `id` gets one from the server; `json` is the document's text. */
export type TypedValue =
  | { readonly type: 'string' | 'json'; readonly value: RedisValue }
  | { readonly type: 'hash'; readonly value: readonly FieldValue[] }
  | { readonly type: 'list' | 'set'; readonly value: readonly RedisValue[] }
  | { readonly type: 'zset'; readonly value: readonly ScoredMember[] }
  | {
      readonly type: 'stream'
      readonly value: readonly { readonly id?: string | undefined; readonly fields: readonly FieldValue[] }[]
    }

/** A page of a value, in the form that `PUT key` takes. */
export type ValuePage = RedisValue | readonly (RedisValue | FieldValue | ScoredMember | StreamEntry)[]

// Even, so that pairs stay together; with name and key below the 1,024 that one command may have.
const argumentsPerCommand = 1_000

/** The commands that make a value of a key that is not there. */
export function writesOf(key: string | Buffer, typed: TypedValue): readonly BatchCommand[] {
  switch (typed.type) {
    case 'string':
      return [['set', key, toArgument(typed.value)]]
    case 'json':
      return [['json.set', key, '$', toArgument(typed.value)]]
    case 'hash':
      return split('hset', key, typed.value.flatMap(pairOf))
    case 'list':
      return split('rpush', key, typed.value.map(toArgument))
    case 'set':
      return split('sadd', key, typed.value.map(toArgument))
    case 'zset':
      return split(
        'zadd',
        key,
        typed.value.flatMap(({ score, member }) => [score, toArgument(member)]),
      )
    case 'stream':
      return typed.value.map(({ id = '*', fields }) => ['xadd', key, id, ...fields.flatMap(pairOf)])
  }
}

function pairOf({ field, value }: FieldValue): (string | Buffer)[] {
  return [toArgument(field), toArgument(value)]
}

function split(name: string, key: string | Buffer, args: readonly (string | Buffer)[]): readonly BatchCommand[] {
  return Array.from({ length: Math.ceil(args.length / argumentsPerCommand) }, (_, index) => {
    const from = index * argumentsPerCommand
    return [name, key, ...args.slice(from, from + argumentsPerCommand)]
  })
}

/** Where a page begins, and how much it may hold. */
export interface PageRequest {
  readonly position: string | undefined
  readonly count: number
  readonly encoding: Encoding
  readonly maxValueBytes: number
  readonly maxResponseBytes: number
}

/** How a type is read: its length, and a page from a position that the page before told. */
export interface PageReader {
  readonly length: string | null
  command(key: string | Buffer, request: PageRequest): BatchCommand
  /** `total` is the length of the whole. */
  read(
    reply: Reply | undefined,
    request: PageRequest,
    total: number,
  ): { readonly value: ValuePage; readonly next: string | null }
}

const string: PageReader = {
  length: 'strlen',
  command: (key, { position = '0', maxValueBytes }) => [
    'getrange',
    key,
    position,
    String(Number(position) + maxValueBytes),
  ],
  read(reply, { position = '0', maxValueBytes, encoding }) {
    if (!(reply instanceof Buffer)) throw notRedis()
    const isMore = reply.length > maxValueBytes
    return {
      value: fromBytes(reply.subarray(0, maxValueBytes), encoding),
      next: isMore ? String(Number(position) + maxValueBytes) : null,
    }
  },
}

const list = ranged('llen', 'lrange', [], 1, ([value], encoding) => fromBytes(value as Buffer, encoding))
const zset = ranged('zcard', 'zrange', ['WITHSCORES'], 2, ([member, score], encoding) => ({
  member: fromBytes(member as Buffer, encoding),
  score: (score as Buffer).toString('latin1'),
}))
const set = scanned('scard', 'sscan', 1, ([member], encoding) => fromBytes(member as Buffer, encoding))
const hash = scanned('hlen', 'hscan', 2, fieldOf)

const stream: PageReader = {
  length: 'xlen',
  command: (key, { position = '-', count }) => ['xrange', key, position, '+', 'COUNT', String(count)],
  read(reply, { position, count, encoding, maxResponseBytes }, total) {
    const entries = listOf(reply).map((entry): StreamEntry => {
      const [id, fields] = listOf(entry)
      if (!(id instanceof Buffer)) throw notRedis()
      return { id: id.toString('latin1'), fields: groupsOf(fields, 2).map((pair) => fieldOf(pair, encoding)) }
    })
    const value = withinAnswer(entries, maxResponseBytes, (entry) => [entry])
    const isLast = value.length === entries.length && (value.length < count || (!position && value.length === total))
    return { value, next: isLast ? null : idAfter(value.at(-1)?.id ?? '0-0') }
  },
}

const json: PageReader = {
  length: null,
  command: (key) => ['json.get', key],
  read(reply, { encoding }) {
    if (!(reply instanceof Buffer)) throw notRedis()
    return { value: fromBytes(reply, encoding), next: null }
  },
}

/** By the server's name of the type. */
export const pageReaders: ReadonlyMap<string, PageReader> = new Map([
  ...Object.entries({ string, list, zset, set, hash, stream }),
  ['ReJSON-RL', json],
])

type Group = readonly (Buffer | undefined)[]
type ReadGroup = (group: Group, encoding: Encoding) => RedisValue | FieldValue | ScoredMember

function fieldOf([field, value]: Group, encoding: Encoding): FieldValue {
  return { field: fromBytes(field as Buffer, encoding), value: fromBytes(value as Buffer, encoding) }
}

function ranged(length: string, name: string, options: readonly string[], size: number, read: ReadGroup): PageReader {
  return {
    length,
    command: (key, { position = '0', count }) => [
      name,
      key,
      position,
      String(Number(position) + count - 1),
      ...options,
    ],
    read(reply, { position = '0', encoding, maxResponseBytes }, total) {
      const found = groupsOf(reply, size).map((group) => read(group, encoding))
      const value = withinAnswer(found, maxResponseBytes, (item) => [item])
      const end = Number(position) + value.length
      return { value, next: found.length > 0 && end < total ? String(end) : null }
    },
  }
}

function scanned(length: string, name: string, size: number, read: ReadGroup): PageReader {
  return {
    length,
    command: (key, { position = '0', count }) => [name, key, position, 'COUNT', String(count)],
    read(reply, { encoding, maxResponseBytes }) {
      const [cursor, found] = listOf(reply)
      if (!(cursor instanceof Buffer)) throw notRedis()
      const value = groupsOf(found, size).map((group) => read(group, encoding))
      // The scan goes on behind all of them.
      if (withinAnswer(value, maxResponseBytes, (item) => [item]).length < value.length) throw replyTooLarge()
      const next = cursor.toString('latin1')
      return { value, next: next === '0' ? null : next }
    },
  }
}

function groupsOf(reply: Reply | undefined, size: number): readonly Group[] {
  const items = listOf(reply)
  if (items.length % size !== 0 || !areBytes(items)) throw notRedis()
  return Array.from({ length: items.length / size }, (_, index) => items.slice(index * size, (index + 1) * size))
}

function areBytes(items: readonly Reply[]): items is readonly Buffer[] {
  return items.every((item) => item instanceof Buffer)
}

function listOf(reply: Reply | undefined): readonly Reply[] {
  if (!Array.isArray(reply)) throw notRedis()
  return reply as readonly Reply[]
}

const largest = 2n ** 64n - 1n

/** The smallest ID above one, `null` above the last: before Redis 6.2 a range can not leave out its ends. */
function idAfter(id: string): string | null {
  const [ms = 0n, sequence = 0n] = id.split('-').map(BigInt)
  if (sequence < largest) return `${ms}-${sequence + 1n}`
  return ms < largest ? `${ms + 1n}-0` : null
}
