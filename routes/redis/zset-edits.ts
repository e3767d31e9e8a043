import { z } from '@hono/zod-openapi'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { writeContract } from './contracts.ts'
import { RedisValue } from './schemas.ts'
import { echo, encodedWriteQuery, writing } from './set-schemas.ts'
import { LexBound, Score, ScoreBound, scoreText } from './zset-schemas.ts'

const maxMembers = 500
const maxRemoved = 1_000

const add = writeContract({
  path: '/{databaseId}/zsets/add',
  operationId: 'RedisSortedSetsController_add',
  summary: 'Add members to a sorted set, or change scores',
  description:
    'nx only adds, xx only changes scores; gt and lt change a score only for a higher or a lower one. Makes the sorted set where there is none.',
  operation: 'write',
  body: z
    .strictObject({
      key: RedisValue,
      members: z
        .array(z.strictObject({ member: RedisValue, score: Score }))
        .min(1)
        .max(maxMembers),
      nx: z.boolean().optional(),
      xx: z.boolean().optional(),
      gt: z.boolean().optional(),
      lt: z.boolean().optional(),
      ch: z.boolean().optional().openapi({ description: 'Counts those whose score changed too' }),
    })
    .refine(({ nx, xx, gt, lt }) => !(nx && (xx || gt || lt)), { error: 'excludes xx, gt and lt', path: ['nx'] })
    .refine(({ gt, lt }) => !(gt && lt), { error: 'gt and lt exclude each other', path: ['gt'] })
    .openapi('RedisSortedSetAdd', {
      example: { key: 'scores', members: [{ member: 'ada', score: 12.5 }], ch: true },
    }),
  answer: z
    .object({
      key: RedisValue,
      changed: z.number().openapi({ description: 'Those that are new; with ch, and those with another score' }),
    })
    .openapi('RedisSortedSetChanged', { example: { key: 'scores', changed: 1 } }),
  answered: 'How many are new or changed',
})

const increment = writeContract({
  path: '/{databaseId}/zsets/increment',
  operationId: 'RedisSortedSetsController_increment',
  summary: 'Add to the score of a member',
  description: 'A member that is not there begins at 0.',
  operation: 'write',
  query: encodedWriteQuery,
  body: z
    .strictObject({ key: RedisValue, member: RedisValue, by: Score })
    .openapi('RedisSortedSetIncrement', { example: { key: 'scores', member: 'ada', by: 1 } }),
  answer: z
    .object({ key: RedisValue, member: RedisValue, score: z.string() })
    .openapi('RedisSortedSetScore', { example: { key: 'scores', member: 'ada', score: '13.5' } }),
  answered: 'The new score',
})

const ranges = ['members', 'score', 'lex', 'rank'] as const

const remove = writeContract({
  path: '/{databaseId}/zsets/remove',
  operationId: 'RedisSortedSetsController_remove',
  summary: 'Remove members from a sorted set',
  description: 'Exactly one of: these members, a range of scores, of members’ bytes, or of ranks, its ends included.',
  operation: 'delete',
  body: z
    .strictObject({
      key: RedisValue,
      members: z.array(RedisValue).min(1).max(maxRemoved).optional(),
      score: z.strictObject({ min: ScoreBound, max: ScoreBound }).optional(),
      lex: z.strictObject({ min: LexBound, max: LexBound }).optional(),
      rank: z
        .strictObject({ start: z.int(), stop: z.int() })
        .optional()
        .openapi({ description: 'From the lowest score; -1 is the highest' }),
    })
    .refine((value) => ranges.filter((name) => value[name] !== undefined).length === 1, {
      error: 'exactly one of members, score, lex and rank must be given',
      path: ['members'],
    })
    .openapi('RedisSortedSetRemove', { example: { key: 'scores', members: ['ada'] } }),
  answer: z
    .object({ key: RedisValue, removed: z.number().openapi({ description: 'Those that were there' }) })
    .openapi('RedisSortedSetRemoved', { example: { key: 'scores', removed: 1 } }),
  answered: 'How many were removed',
})

export const zsetEdits = createRouter()
  .openapi(add, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { members, ...request } = c.req.valid('json')
    const { db } = c.req.valid('query')
    const scored = members.map(({ member, score }) => ({ member, score: scoreText(score) }))
    const changed = await writing(c.env, databaseId, db, ({ sortedSets }, call) =>
      sortedSets.add({ ...request, members: scored }, call),
    )
    return reply(c, add, 200, { key: request.key, changed })
  })
  .openapi(increment, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, member, by } = c.req.valid('json')
    const { db, encoding } = c.req.valid('query')
    const score = await writing(c.env, databaseId, db, ({ sortedSets }, call) =>
      sortedSets.increment(key, member, scoreText(by), call),
    )
    return reply(c, increment, 200, { key: echo(key, encoding), member: echo(member, encoding), score })
  })
  .openapi(remove, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, ...removal } = c.req.valid('json')
    const { db } = c.req.valid('query')
    const removed = await writing(c.env, databaseId, db, ({ sortedSets }, call) =>
      sortedSets.remove(key, removal, call),
    )
    return reply(c, remove, 200, { key, removed })
  })
