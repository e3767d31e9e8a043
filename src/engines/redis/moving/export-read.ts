import { type Call, throwIfOver } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import type { Commands } from '../commands.ts'
import { bytesIn, listIn } from '../replies.ts'
import { isTooLarge } from '../errors.ts'

/** A member of a collection, in the order of its line: an element, a member, a pair, or an entry's id and pairs. */
export interface Member {
  readonly parts: readonly Buffer[]
  /** A stream's entry: its id is the first part, and its fields follow. */
  readonly isEntry?: true
}

/** Types that the typed form has; others have the dump form alone. */
export const typedTypes: ReadonlySet<string> = new Set(['string', 'list', 'set', 'zset', 'hash', 'stream'])

const wholeReads: Readonly<Record<string, (key: Buffer) => BatchCommand>> = {
  string: (key) => ['get', key],
  list: (key) => ['lrange', key, '0', '-1'],
  set: (key) => ['smembers', key],
  zset: (key) => ['zrange', key, '0', '-1', 'withscores'],
  hash: (key) => ['hgetall', key],
  stream: (key) => ['xrange', key, '-', '+'],
}

/** The command that reads all of a small value. */
export function wholeRead(type: string, key: Buffer): BatchCommand {
  return wholeReads[type]?.(key) ?? ['get', key]
}

/** The members of a reply to `wholeRead`; a string is one of its own. */
export function membersIn(type: string, reply: Reply | undefined): readonly Member[] {
  if (reply === null) return []
  if (type === 'string') return [{ parts: [bytesIn(reply)] }]
  if (type === 'stream') return listIn(reply).map(entryIn)
  const flat = listIn(reply).map(bytesIn)
  if (type === 'list' || type === 'set') return flat.map((bytes) => ({ parts: [bytes] }))
  return flat.flatMap((bytes, at) => (at % 2 === 0 ? [{ parts: [bytes, flat[at + 1] ?? bytes] }] : []))
}

function entryIn(reply: Reply): Member {
  const [id, fields] = listIn(reply)
  return { parts: [bytesIn(id), ...listIn(fields).map(bytesIn)], isEntry: true }
}

const firstCount = 16
const maxCount = 1_000
const chunkBytes = 1_048_576

/**
 * The members of a value of any size, in rounds of about 1 MiB: by the type's own scan or range, never whole. One that is written meanwhile
 * may come twice or not at all, as SCAN and its kin have it. `RESULT_TOO_LARGE` where a single member is above the cap.
 */
export async function* readMembers(
  commands: Commands,
  type: string,
  key: Buffer,
  call: Call,
): AsyncGenerator<readonly Member[], undefined> {
  let count = firstCount
  let place = firstPlace(type)
  for (;;) {
    throwIfOver(call)
    let reply: Reply | undefined
    try {
      ;[reply] = await commands.send(call, 'reads', partRead(type, key, place, count))
    } catch (error) {
      if (!isTooLarge(error) || count === 1 || type === 'string') throw error
      count = 1
      continue
    }
    const [members, next] = partIn(type, reply, place, count)
    yield members
    if (next === undefined) return
    place = next
    const bytes = members.reduce((sum, { parts }) => sum + parts.reduce((all, part) => all + part.length, 0), 0)
    const fitting = Math.floor((chunkBytes * members.length) / Math.max(1, bytes))
    count = Math.max(1, Math.min(maxCount, count * 4, fitting))
  }
}

function firstPlace(type: string): string {
  return type === 'stream' ? '-' : '0'
}

function partRead(type: string, key: Buffer, place: string, count: number): BatchCommand {
  switch (type) {
    case 'string':
      return ['getrange', key, place, String(Number(place) + chunkBytes - 1)]
    case 'list':
      return ['lrange', key, place, String(Number(place) + count - 1)]
    case 'stream':
      return ['xrange', key, place, '+', 'COUNT', String(count)]
    default:
      return [type === 'set' ? 'sscan' : type === 'zset' ? 'zscan' : 'hscan', key, place, 'COUNT', String(count)]
  }
}

function partIn(
  type: string,
  reply: Reply | undefined,
  place: string,
  count: number,
): readonly [members: readonly Member[], next: string | undefined] {
  if (type === 'string') {
    const bytes = bytesIn(reply)
    return [[{ parts: [bytes] }], bytes.length < chunkBytes ? undefined : String(Number(place) + chunkBytes)]
  }
  if (type === 'list' || type === 'stream') {
    const members = membersIn(type, reply)
    if (members.length < count) return [members, undefined]
    const lastId = members.at(-1)?.parts[0]?.toString('latin1')
    return [members, type === 'list' ? String(Number(place) + count) : `(${lastId}`]
  }
  const [cursor, items] = listIn(reply)
  const next = bytesIn(cursor).toString('latin1')
  return [membersIn(type, items), next === '0' ? undefined : next]
}

/** What a stream is beside its entries; read after them. */
export interface StreamState {
  readonly last_id: string
  readonly groups: readonly { readonly name: Buffer; readonly lastDelivered: string }[]
}

/** The commands whose replies `streamStateIn` reads. */
export const stateReads = (key: Buffer): readonly BatchCommand[] => [
  ['xinfo', 'stream', key],
  ['xinfo', 'groups', key],
]

export function streamStateIn(stream: Reply | undefined, groups: Reply | undefined): StreamState {
  return {
    last_id: bytesIn(propertyOf(stream, 'last-generated-id')).toString('latin1'),
    groups: listIn(groups).map((group) => ({
      name: bytesIn(propertyOf(group, 'name')),
      lastDelivered: bytesIn(propertyOf(group, 'last-delivered-id')).toString('latin1'),
    })),
  }
}

function propertyOf(reply: Reply | undefined, name: string): Reply | undefined {
  const items = listIn(reply)
  return items[items.findIndex((item, at) => at % 2 === 0 && bytesIn(item).toString('latin1') === name) + 1]
}
