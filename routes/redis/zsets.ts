import { z } from '@hono/zod-openapi'
import type { RangeRequest } from '#src/engines/redis/types/set-ranges.ts'
import { invalid } from '#src/errors.ts'
import { booleanQuery, wholeNumber } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { readContract } from './contracts.ts'
import { DatabaseNumber, Encoding, KeyName, RedisValue } from './schemas.ts'
import { readPage } from './hash-contract.ts'
import { cutMark, echo, Pagination, paginationOf, Pattern, readPosition, valueOf } from './set-schemas.ts'
import { lexBoundOf, ScoreBound, scoreBoundRule } from './zset-schemas.ts'

const maxRank = 999_999_999_999

const list = readContract({
  path: '/{databaseId}/zsets',
  operationId: 'RedisSortedSetsController_list',
  summary: 'Page through a sorted set',
  description:
    'In the order of scores: by rank, or within a range of scores (`by=score`) or of members’ bytes (`by=lex`, where all scores are the same); or in no order by ZSCAN (`by=pattern`). What a way does not name has no effect on it. `member` asks for one member and its ranks instead.',
  query: z.object({
    key: KeyName.openapi({ example: 'scores' }),
    member: z
      .string()
      .optional()
      .openapi({
        description: 'Only this member, exactly; base64 with encoding=base64. No other filter counts then',
        examples: ['ada'],
      }),
    by: z
      .enum(['rank', 'score', 'lex', 'pattern'], { error: 'must be rank, score, lex or pattern' })
      .default('rank')
      .openapi({ description: 'How members are found', default: 'rank' }),
    start: wholeNumber(0, maxRank, 0).openapi({ description: 'by=rank: the first rank' }),
    min: z
      .string()
      .optional()
      .openapi({
        description:
          'by=score: `5`, `(5` without 5, `-inf`; by=lex: `[a`, `(a` without a, `-`, and base64 after the bracket with encoding=base64. The lowest there is unless given',
        examples: ['-inf'],
      }),
    max: z
      .string()
      .optional()
      .openapi({ description: 'The upper end, in the same form: `+inf`, or `+` by=lex', examples: ['+inf'] }),
    pattern: Pattern.openapi({ description: 'by=pattern: a glob, at most 256 bytes', examples: ['a*'] }),
    reverse: booleanQuery
      .default(false)
      .openapi({ type: 'boolean', description: 'From the highest score down; not by=pattern', default: false }),
    count: wholeNumber(1, 1000, 100).openapi({ description: 'Members per page; by=pattern about' }),
    cursor: pageCursor(4_000),
    encoding: Encoding,
    db: DatabaseNumber,
  }),
  answer: z
    .object({
      key: RedisValue,
      data: z.array(
        z.object({
          member: RedisValue.nullable().openapi({
            description: 'null: too large to be answered or, without size_bytes, to be read',
          }),
          score: z.string().nullable().openapi({
            description:
              'As the server prints it, all digits of the double: 0.10000000000000001, 1e+308, inf, -0; null where it was not read',
          }),
          ...cutMark,
          rank: z.number().optional().openapi({ description: 'Of `member`: how many have less' }),
          reverse_rank: z.number().optional().openapi({ description: 'Of `member`: how many have more' }),
        }),
      ),
      pagination: Pagination,
      length: z.number().openapi({ description: 'Members of the whole sorted set' }),
    })
    .openapi('RedisSortedSetPage', {
      example: {
        key: 'scores',
        data: [{ member: 'ada', score: '12.5', rank: 0, reverse_rank: 0 }],
        pagination: { next_cursor: null, has_more: false },
        length: 1,
      },
    }),
  answered: 'A page of members',
})

export const zsets = createRouter().openapi(list, async (c) => {
  const { databaseId } = c.req.valid('param')
  const query = c.req.valid('query')
  const { key, member, by, pattern, reverse, count, cursor, encoding, db } = query
  const name = valueOf('key', key, encoding)
  const one = member === undefined ? undefined : valueOf('member', member, encoding)
  const range = one === undefined && by !== 'pattern' ? rangeOf({ ...query, by }) : undefined
  const scope = ['redis-zsets', databaseId, db ?? null, key, encoding, by, range ?? pattern ?? null, reverse]
  const position = readPosition(c.env, scope, cursor)
  const { data, length, next } = await readPage(
    c.env,
    { databaseId, db, count: count + 1 },
    ({ sortedSets }, call, share) => {
      if (one !== undefined) return sortedSets.find(name, one, encoding, call)
      if (range === undefined)
        return sortedSets.byPattern({ key: name, pattern, count, share, position, encoding }, call)
      return sortedSets.inOrder({ key: name, range, count, share, reverse, position, encoding }, call)
    },
  )
  return reply(c, list, 200, {
    key: echo(name, encoding),
    data: [...data],
    pagination: paginationOf(c.env, scope, next),
    length,
  })
})

interface RangeQuery {
  readonly by: 'rank' | 'score' | 'lex'
  readonly start: number
  readonly min?: string | undefined
  readonly max?: string | undefined
  readonly encoding: 'utf8' | 'base64'
}

function rangeOf({ by, start, min, max, encoding }: RangeQuery): RangeRequest['range'] {
  if (by === 'rank') return { by, start }
  if (by === 'score') return { by, min: checked('min', min ?? '-inf'), max: checked('max', max ?? '+inf') }
  return { by, min: lexBoundOf('min', min ?? '-', encoding), max: lexBoundOf('max', max ?? '+', encoding) }
}

function checked(field: 'min' | 'max', bound: string): string {
  const found = ScoreBound.safeParse(bound)
  if (!found.success) throw invalid(field, scoreBoundRule)
  return found.data
}
