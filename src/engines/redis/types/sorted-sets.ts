import type { Call, Limits } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Lanes } from '../commands.ts'
import { pageInOrder, type RangeRequest, sortedMember, type SortedMember, type SortedPage } from './set-ranges.ts'
import { leftOutMark, type Position } from './set-pages.ts'
import { textIn } from '../replies.ts'
import { type MemberScan, scanMembers } from './set-scan.ts'
import { type Encoding, type RedisValue, toArgument } from '../values.ts'
import { noSuchKey } from '../errors.ts'

/** What is added: the score as Redis takes it, `1.5`, `-inf`, `1e308`. */
export interface ScoredMember {
  readonly member: RedisValue
  readonly score: string
}

export interface AddScored {
  readonly key: RedisValue
  readonly members: readonly ScoredMember[]
  readonly nx?: boolean | undefined
  readonly xx?: boolean | undefined
  readonly gt?: boolean | undefined
  readonly lt?: boolean | undefined
  readonly ch?: boolean | undefined
}

export interface PatternRequest {
  readonly key: RedisValue
  readonly pattern?: string | undefined
  readonly count: number
  /** Reads a part of `count` at once; see `withFewer`. */
  readonly share: number
  readonly position: Position
  readonly encoding: Encoding
}

/** What is removed: these members, or one range. Ranks count from the lowest score, negative ones from the highest. */
export interface Removal {
  readonly members?: readonly RedisValue[] | undefined
  readonly score?: { readonly min: string; readonly max: string } | undefined
  readonly lex?: { readonly min: RedisValue; readonly max: RedisValue } | undefined
  readonly rank?: { readonly start: number; readonly stop: number } | undefined
}

/**
 * Sorted sets. Where a key is absent, reads throw `NOT_FOUND` and removals remove nothing. Of pages, `RESULT_TOO_LARGE` may be asked again for
 * a smaller share.
 */
export interface SortedSets {
  /** A page by rank, or by a range of scores or of members' bytes. */
  inOrder(request: RangeRequest, call: Call): Promise<SortedPage>
  /** A page by ZSCAN, in no order, a few more than `count` at times. */
  byPattern(request: PatternRequest, call: Call): Promise<SortedPage>
  /** A page of this one member with its ranks, or of none. */
  find(key: RedisValue, member: RedisValue, encoding: Encoding, call: Call): Promise<SortedPage>
  /** How many are new; with `ch`, how many are new or have another score now. */
  add(request: AddScored, call: Call): Promise<number>
  /** The new score. */
  increment(key: RedisValue, member: RedisValue, by: string, call: Call): Promise<string>
  /** How many were there. */
  remove(key: RedisValue, removal: Removal, call: Call): Promise<number>
}

const addFlags = ['nx', 'xx', 'gt', 'lt', 'ch'] as const

export function createSortedSets({ shared, alone }: Lanes, limits: Limits): SortedSets {
  const { maxValueBytes } = limits
  return {
    inOrder: (request, call) => alone(call, (commands) => pageInOrder(commands, request, limits, call)),
    byPattern({ key, encoding, ...request }, call) {
      const name = toArgument(key)
      return alone(call, async (commands) => {
        const scan: MemberScan<SortedMember> = {
          ...request,
          command: 'zscan',
          key: name,
          maxBytes: limits.maxResponseBytes,
          read: (element) => sortedMember(element, maxValueBytes, encoding),
          leftOut: (element) => ({
            member: null,
            score: element ? textIn(element[1]) : null,
            ...leftOutMark(element?.[0]),
          }),
        }
        const [[length], page] = await Promise.all([
          commands.send(call, 'reads', ['zcard', name]),
          scanMembers(commands, scan, call),
        ])
        if (length === '0') throw noSuchKey()
        return { ...page, length: Number(length) }
      })
    },
    async find(key, member, encoding, call) {
      const [name, sought] = [toArgument(key), toArgument(member)]
      const [length, score, rank, reverse] = await shared.send(
        call,
        'reads',
        ['zcard', name],
        ['zscore', name, sought],
        ['zrank', name, sought],
        ['zrevrank', name, sought],
      )
      if (length === '0') throw noSuchKey()
      const found = score instanceof Buffer ? [sortedMember([Buffer.from(sought), score], maxValueBytes, encoding)] : []
      const data = found.map((entry) => ({ ...entry, rank: Number(rank), reverse_rank: Number(reverse) }))
      return { data, length: Number(length), next: null }
    },
    async add({ key, members, ...flags }, call) {
      const chosen = addFlags.filter((flag) => flags[flag]).map((flag) => flag.toUpperCase())
      const pairs = members.flatMap(({ member, score }) => [score, toArgument(member)])
      const [changed] = await shared.send(call, 'writes', ['zadd', toArgument(key), ...chosen, ...pairs])
      return Number(changed)
    },
    async increment(key, member, by, call) {
      const [score] = await shared.send(call, 'writes', ['zincrby', toArgument(key), by, toArgument(member)])
      return textIn(score)
    },
    async remove(key, removal, call) {
      const [removed] = await shared.send(call, 'writes', removalOf(toArgument(key), removal))
      return Number(removed)
    },
  }
}

function removalOf(key: string | Buffer, { members = [], score, lex, rank }: Removal): BatchCommand {
  if (score !== undefined) return ['zremrangebyscore', key, score.min, score.max]
  if (lex !== undefined) return ['zremrangebylex', key, toArgument(lex.min), toArgument(lex.max)]
  if (rank !== undefined) return ['zremrangebyrank', key, String(rank.start), String(rank.stop)]
  return ['zrem', key, ...members.map(toArgument)]
}
