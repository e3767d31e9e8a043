import type { Call } from '../../engine.ts'
import type { Commands } from '../commands.ts'
import { type Bounds, lexBounds, scoreBounds } from './set-bounds.ts'
import { maxCursorBytes, type Position } from './set-pages.ts'
import { cut, type CutMark, listIn, pairsIn, textIn } from '../replies.ts'
import { type Encoding, type RedisValue, toArgument } from '../values.ts'
import { noSuchKey } from '../errors.ts'

/** A member with its score as the server prints it. */
export interface SortedMember extends CutMark {
  readonly member: RedisValue
  readonly score: string
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
  readonly reverse: boolean
  /** The score and member that the page follows, or a rank alone. */
  readonly position: Position
  readonly encoding: Encoding
}

/** A page in the order of scores, or in the other direction. */
export async function pageInOrder(
  commands: Commands,
  { key, range, count, reverse, position, encoding }: RangeRequest,
  maxValueBytes: number,
  call: Call,
): Promise<SortedPage> {
  const name = toArgument(key)
  const bounds =
    range.by === 'rank'
      ? undefined
      : range.by === 'score'
        ? scoreBounds(name, range, reverse)
        : lexBounds(name, range, reverse)
  const { first, size } =
    bounds === undefined
      ? { first: Number(position[0] ?? (range.by === 'rank' ? range.start : 0)), size: count }
      : await findPlace(commands, name, bounds, { count, reverse, position }, call)
  const command = reverse ? 'zrevrange' : 'zrange'
  // One more, which tells whether there is another page.
  const asked = [command, name, String(first), String(first + size), 'WITHSCORES'] as const
  const [length, reply] = await commands.send(call, 'reads', ['zcard', name], asked)
  if (length === '0') throw noSuchKey()
  const pairs = pairsIn(listIn(reply))
  const page = pairs.slice(0, size)
  const [end, beyond] = [page.at(-1), pairs[size]]
  const goesOn = end !== undefined && beyond !== undefined && (bounds?.includes(beyond) ?? true)
  const within = bounds === undefined ? page : page.filter((pair) => bounds.includes(pair))
  return {
    data: within.map((pair) => sortedMember(pair, maxValueBytes, encoding)),
    length: Number(length),
    next: goesOn ? positionAfter(end, first + size, bounds) : null,
  }
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
 * The rank at which a page begins, after the last member where that still stands, else where it stood; and how many members it has at the
 * most. Pages are found by rank since LIMIT walks over all that it leaves out.
 */
async function findPlace(
  commands: Commands,
  key: string | Buffer,
  bounds: Bounds,
  { count, reverse, position: [at, last] }: Pick<RangeRequest, 'count' | 'reverse' | 'position'>,
  call: Call,
): Promise<{ readonly first: number; readonly size: number }> {
  if (at === undefined || last === undefined) {
    const [before, within] = await commands.send(call, 'reads', bounds.before, bounds.within)
    return { first: Number(at ?? before), size: Math.min(count, Number(within)) }
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
  return { first: stands ? Number(rank) + 1 : Number(before), size: Math.min(count, Number(rest)) }
}

function positionAfter([member, score]: readonly [Buffer, Buffer], rank: number, bounds: Bounds | undefined): Position {
  if (bounds === undefined || member.length > maxCursorBytes) return [String(rank)]
  return [score.toString('latin1'), member.toString('base64')]
}
