import type { Call, Limits } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Commands } from '../commands.ts'
import { withinAnswer } from './hash-values.ts'
import { type Bounds, lexBounds, scoreBounds } from './set-bounds.ts'
import { leftOutMark, maxCursorBytes, type Position } from './set-pages.ts'
import { cut, type CutMark, listIn, pairsIn, textIn } from '../replies.ts'
import { type Encoding, type RedisValue, toArgument } from '../values.ts'
import { isTooLarge, noSuchKey } from '../errors.ts'

/** A member with its score as the server prints it. */
export interface SortedMember extends CutMark {
  /** `null`: too large to be answered or, without a size, to be read. */
  readonly member: RedisValue | null
  /** `null` where it could not be read. */
  readonly score: string | null
  /** Of a single member: how many come before it from the lowest score, and from the highest. */
  readonly rank?: number
  readonly reverse_rank?: number
}

export interface SortedPage {
  readonly data: readonly SortedMember[]
  /** Members of the whole sorted set. */
  readonly length: number
  /** `null` after the last page. */
  readonly next: Position | null
}

/** What a page in order is asked with; bounds are as Redis takes them. */
export interface RangeRequest {
  readonly key: RedisValue
  readonly range:
    | { readonly by: 'rank'; readonly start: number }
    | { readonly by: 'score'; readonly min: string; readonly max: string }
    | { readonly by: 'lex'; readonly min: RedisValue; readonly max: RedisValue }
  readonly count: number
  /** Reads a part of `count` at once; see `withFewer`. */
  readonly share: number
  readonly reverse: boolean
  /** The score and member that the page follows, or a rank alone. */
  readonly position: Position
  readonly encoding: Encoding
}

/**
 * A page in the order of scores, or in the other direction; of no more members than are likely to fit. One that is larger than a reply may
 * be is passed over by its rank.
 */
export async function pageInOrder(
  commands: Commands,
  { key, range, count, share, reverse, position, encoding }: RangeRequest,
  { maxValueBytes, maxResponseBytes }: Limits,
  call: Call,
): Promise<SortedPage> {
  const name = toArgument(key)
  const bounds =
    range.by === 'rank'
      ? undefined
      : range.by === 'score'
        ? scoreBounds(name, range, reverse)
        : lexBounds(name, range, reverse)
  const { first, left } =
    bounds === undefined
      ? { first: Number(position[0] ?? (range.by === 'rank' ? range.start : 0)), left: count }
      : await findPlace(commands, name, bounds, { reverse, position }, call)
  const wanted = Math.min(count, left)
  const size = wanted === 0 ? 0 : Math.max(1, Math.floor(wanted / share))
  // One more, which tells whether there is another page, unless it may be that one that is too large.
  const isSingle = share > 1 && size === 1
  const last = isSingle ? first : first + size
  const ranks = size === 0 ? ['1', '0'] : [String(first), String(last)]
  const asked: BatchCommand = [reverse ? 'zrevrange' : 'zrange', name, ...ranks, 'WITHSCORES']
  const [[length], [reply]] = await Promise.all([
    commands.send(call, 'reads', ['zcard', name]),
    commands.send(call, 'reads', asked).catch((error: unknown) => {
      if (!isSingle || !isTooLarge(error)) throw error
      return [null]
    }),
  ])
  if (length === '0') throw noSuchKey()
  const isMore = (bounds === undefined ? Number(length) - first : left) > 1
  if (reply === null) {
    const data = [{ member: null, score: null, ...leftOutMark() }]
    return { data, length: Number(length), next: isMore ? [String(first + 1)] : null }
  }
  const pairs = pairsIn(listIn(reply))
  const page = pairs.slice(0, size)
  const beyond = pairs[size]
  const within = bounds === undefined ? page : page.filter((pair) => bounds.includes(pair))
  const found = within.map((pair) => sortedMember(pair, maxValueBytes, encoding))
  const data = withinAnswer(found, maxResponseBytes, (member) => [member])
  const isCut = data.length < found.length
  const end = isCut ? within[data.length - 1] : page.at(-1)
  const goesOn = isCut || (isSingle ? isMore : beyond !== undefined && (bounds?.includes(beyond) ?? true))
  const next = end !== undefined && goesOn ? positionAfter(end, first + page.indexOf(end) + 1, bounds) : null
  return { data, length: Number(length), next }
}

export function sortedMember(
  [bytes, score]: readonly [Buffer, Buffer],
  maxValueBytes: number,
  encoding: Encoding,
): SortedMember {
  const [member, mark] = cut(bytes, maxValueBytes, encoding)
  return { member, score: textIn(score), ...mark }
}

/**
 * The rank at which a page begins, after the last member where that still stands, else where it stood; and how many members of the range are
 * left from there. Pages are found by rank since LIMIT walks over all that it leaves out.
 */
async function findPlace(
  commands: Commands,
  key: string | Buffer,
  bounds: Bounds,
  { reverse, position: [at, last] }: Pick<RangeRequest, 'reverse' | 'position'>,
  call: Call,
): Promise<{ readonly first: number; readonly left: number }> {
  if (at === undefined || last === undefined) {
    const [before, within] = await commands.send(call, 'reads', bounds.before, bounds.within)
    const first = Number(at ?? before)
    return { first, left: Math.max(0, Number(before) + Number(within) - first) }
  }
  const member = Buffer.from(last, 'base64')
  const [score, rank, before, rest] = await commands.send(
    call,
    'reads',
    ['zscore', key, member],
    [reverse ? 'zrevrank' : 'zrank', key, member],
    bounds.beforeMember(at, member),
    bounds.afterMember(at, member),
  )
  const stands = score instanceof Buffer && textIn(score) === at && rank !== null
  return { first: stands ? Number(rank) + 1 : Number(before), left: Number(rest) }
}

function positionAfter([member, score]: readonly [Buffer, Buffer], rank: number, bounds: Bounds | undefined): Position {
  if (bounds === undefined || member.length > maxCursorBytes) return [String(rank)]
  return [score.toString('latin1'), member.toString('base64')]
}
