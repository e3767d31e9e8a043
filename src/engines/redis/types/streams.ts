import { ApiError } from '../../../errors.ts'
import type { Call, Limits } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Lanes } from '../commands.ts'
import type { Position } from './set-pages.ts'
import { textIn } from '../replies.ts'
import {
  entriesIn,
  entriesWithin,
  entryIn,
  entryTooLarge,
  neighbourOf,
  propertiesIn,
  sendExisting,
  serverCode,
  type StreamEntry,
} from './stream-entries.ts'
import { type Encoding, type RedisValue, toArgument } from '../values.ts'
import { isTooLarge } from '../errors.ts'

export interface StreamRangeRequest {
  readonly key: RedisValue
  /** The lower id and the upper one, as Redis takes them, whatever the direction: `-`, `5`, `(5-1`, `+`. */
  readonly start: string
  readonly end: string
  readonly count: number
  /** Reads a part of `count` at once; see `withFewer`. */
  readonly share: number
  readonly reverse: boolean
  /** The id of the last entry before. */
  readonly position: Position
  readonly encoding: Encoding
}

export interface StreamPage {
  readonly data: readonly StreamEntry[]
  /** Entries of the whole stream. */
  readonly length: number
  /** `null` after the last page. */
  readonly next: Position | null
}

/** What XINFO STREAM says; `null` for what the server is too old to know. Counters in decimal. */
export interface StreamInfo {
  readonly length: number
  readonly groups: number
  readonly last_generated_id: string
  readonly max_deleted_entry_id: string | null
  readonly entries_added: string | null
  readonly recorded_first_entry_id: string | null
  readonly radix_tree_keys: number
  readonly radix_tree_nodes: number
  readonly first_entry: StreamEntry | null
  readonly last_entry: StreamEntry | null
}

/** How far a stream is shortened: to a number of entries or to an id; approximately, by whole nodes, unless `exact`. */
export interface Trim {
  readonly maxLength?: number | undefined
  readonly minId?: string | undefined
  readonly exact?: boolean | undefined
  /** At most so many entries in one go; not with `exact`. */
  readonly limit?: number | undefined
}

export interface AddEntry {
  readonly key: RedisValue
  /** `*` is the server's own. */
  readonly id: string
  readonly fields: readonly { readonly field: RedisValue; readonly value: RedisValue }[]
  readonly noMkStream?: boolean | undefined
  readonly trim?: Trim | undefined
}

/** Streams and their entries. Where a key is absent, reads throw `NOT_FOUND` and removals remove nothing. */
export interface Streams {
  /** `RESULT_TOO_LARGE` may be asked again for a smaller share; with `details` one entry alone is too large. */
  page(request: StreamRangeRequest, call: Call): Promise<StreamPage>
  info(key: RedisValue, encoding: Encoding, call: Call): Promise<StreamInfo>
  /** The entry's id; `null` where `noMkStream` forbade it. Throws `DB_CONFLICT` for an id that is not above the last. */
  add(entry: AddEntry, call: Call): Promise<string | null>
  /** How many were removed. */
  trim(key: RedisValue, trim: Trim, call: Call): Promise<number>
  /** How many were there. */
  remove(key: RedisValue, ids: readonly string[], call: Call): Promise<number>
}

export function createStreams({ shared, alone }: Lanes, { maxValueBytes, maxResponseBytes }: Limits): Streams {
  return { page, info, add, trim: shorten, remove }

  async function page({ key, count, share, reverse, position, encoding, ...request }: StreamRangeRequest, call: Call) {
    const name = toArgument(key)
    const [last] = position
    const from = last === undefined ? (reverse ? request.end : request.start) : neighbourOf(last, reverse)
    const to = reverse ? request.start : request.end
    const wanted = Math.max(1, Math.floor(count / share))
    // One more, which tells whether there is another page, unless it may be that one that is too large.
    const isSingle = share > 1 && wanted === 1
    const asked = isSingle ? 1 : wanted + 1
    const range = [reverse ? 'xrevrange' : 'xrange', name, from, to, 'COUNT', String(asked)] as const
    const [length, reply] = await alone(call, (commands) =>
      sendExisting(commands, call, 'reads', name, ['xlen', name], range),
    ).catch((error: unknown) => {
      throw isSingle && isTooLarge(error) ? entryTooLarge(from, error) : error
    })
    const found = entriesIn(reply, maxValueBytes, encoding)
    const data = entriesWithin(found.slice(0, wanted), maxResponseBytes)
    const end = data.at(-1)
    const goesOn = isSingle || data.length < found.length
    return { data, length: Number(length), next: end !== undefined && goesOn ? [end.id] : null }
  }

  async function info(key: RedisValue, encoding: Encoding, call: Call): Promise<StreamInfo> {
    const name = toArgument(key)
    const [reply] = await alone(call, (commands) =>
      sendExisting(commands, call, 'reads', name, ['xinfo', 'stream', name]),
    )
    const said = propertiesIn(reply)
    const entry = (of: string) => {
      const found = said.get(of) ?? null
      return found === null ? null : entryIn(found, maxValueBytes, encoding)
    }
    return {
      length: Number(said.get('length')),
      groups: Number(said.get('groups')),
      last_generated_id: textIn(said.get('last-generated-id')),
      max_deleted_entry_id: known(said.get('max-deleted-entry-id')),
      entries_added: known(said.get('entries-added')),
      recorded_first_entry_id: known(said.get('recorded-first-entry-id')),
      radix_tree_keys: Number(said.get('radix-tree-keys')),
      radix_tree_nodes: Number(said.get('radix-tree-nodes')),
      first_entry: entry('first-entry'),
      last_entry: entry('last-entry'),
    }
  }

  async function add({ key, id, fields, noMkStream, trim }: AddEntry, call: Call): Promise<string | null> {
    const name = toArgument(key)
    const options = [...(noMkStream ? ['NOMKSTREAM'] : []), ...(trim === undefined ? [] : trimOptions(trim))]
    const pairs = fields.flatMap(({ field, value }) => [toArgument(field), toArgument(value)])
    const [outcome] = await shared.each(call, 'writes', ['xadd', name, ...options, id, ...pairs])
    if (outcome === undefined) return null
    if ('error' in outcome)
      throw serverCode(outcome.error) === 'ERR' ? await refused(outcome.error, key, id, call) : outcome.error
    return known(outcome.reply)
  }

  // The server has one code for all it refuses, so its last id is looked up.
  async function refused(error: Error, key: RedisValue, id: string, call: Call): Promise<Error> {
    if (!/^\d+-\d+$/.test(id)) return error
    const found = await info(key, 'utf8', call).catch(() => undefined)
    if (found === undefined || isAbove(id, found.last_generated_id)) return error
    return new ApiError('DB_CONFLICT', 'The id is not above the last one of the stream.', {
      cause: error,
      details: { last_generated_id: found.last_generated_id },
    })
  }

  async function shorten(key: RedisValue, trim: Trim, call: Call): Promise<number> {
    const [removed] = await shared.send(call, 'writes', ['xtrim', toArgument(key), ...trimOptions(trim)])
    return Number(removed)
  }

  async function remove(key: RedisValue, ids: readonly string[], call: Call): Promise<number> {
    const [removed] = await shared.send(call, 'writes', ['xdel', toArgument(key), ...ids])
    return Number(removed)
  }
}

function trimOptions({ maxLength, minId, exact, limit }: Trim): readonly string[] {
  const [strategy, threshold] = minId === undefined ? ['MAXLEN', String(maxLength ?? 0)] : ['MINID', minId]
  return [strategy, exact ? '=' : '~', threshold, ...(limit === undefined ? [] : ['LIMIT', String(limit)])]
}

function isAbove(id: string, other: string): boolean {
  const [ms = 0n, sequence = 0n] = id.split('-').map(BigInt)
  const [otherMs = 0n, otherSequence = 0n] = other.split('-').map(BigInt)
  return ms === otherMs ? sequence > otherSequence : ms > otherMs
}

/** Ids and counters, in text; `null` for what is absent. */
export function known(reply: Reply | undefined): string | null {
  return reply === undefined || reply === null ? null : textIn(reply)
}
