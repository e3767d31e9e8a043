import { z } from '@hono/zod-openapi'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { writeContract } from './contracts.ts'
import { RedisValue } from './schemas.ts'
import { echo, encodedWriteQuery, writing } from './set-schemas.ts'

const maxMembers = 1_000

const Members = z
  .strictObject({ key: RedisValue, members: z.array(RedisValue).min(1).max(maxMembers) })
  .openapi('RedisSetEdit', { example: { key: 'colours', members: ['red', 'green'] } })

const add = writeContract({
  path: '/{databaseId}/sets/add',
  operationId: 'RedisSetsController_add',
  summary: 'Add members to a set',
  description: 'Makes the set where there is none.',
  operation: 'write',
  body: Members,
  answer: z
    .object({ key: RedisValue, added: z.number().openapi({ description: 'Those that are new' }) })
    .openapi('RedisSetAdded', { example: { key: 'colours', added: 2 } }),
  answered: 'How many are new',
})

const remove = writeContract({
  path: '/{databaseId}/sets/remove',
  operationId: 'RedisSetsController_remove',
  summary: 'Remove members from a set',
  description: 'A set without members is no more.',
  operation: 'delete',
  body: Members,
  answer: z
    .object({ key: RedisValue, removed: z.number().openapi({ description: 'Those that were there' }) })
    .openapi('RedisRemoved', { example: { key: 'colours', removed: 2 } }),
  answered: 'How many were there',
})

const pop = writeContract({
  path: '/{databaseId}/sets/pop',
  operationId: 'RedisSetsController_pop',
  summary: 'Remove members of a set by chance',
  description:
    'Answers what it removed; each member goes to one caller only. Where a chosen member is above 1 MiB it is RESULT_TOO_LARGE and stays.',
  operation: 'delete',
  query: encodedWriteQuery,
  body: z
    .strictObject({ key: RedisValue, count: z.int().min(1).max(maxMembers).default(1) })
    .openapi('RedisSetPop', { example: { key: 'colours', count: 1 } }),
  answer: z
    .object({ key: RedisValue, data: z.array(z.object({ member: RedisValue })) })
    .openapi('RedisSetPopped', { example: { key: 'colours', data: [{ member: 'red' }] } }),
  answered: 'What was removed',
})

const move = writeContract({
  path: '/{databaseId}/sets/move',
  operationId: 'RedisSetsController_move',
  summary: 'Move a member to another set',
  description: 'At once for all who look.',
  operation: 'write',
  body: z
    .strictObject({ source: RedisValue, destination: RedisValue, member: RedisValue })
    .openapi('RedisSetMove', { example: { source: 'colours', destination: 'used-colours', member: 'red' } }),
  answer: z
    .object({ moved: z.boolean().openapi({ description: 'false where the source has no such member' }) })
    .openapi('RedisSetMoved', { example: { moved: true } }),
  answered: 'Whether it was moved',
})

export const setEdits = createRouter()
  .openapi(add, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, members } = c.req.valid('json')
    const { db } = c.req.valid('query')
    const added = await writing(c.env, databaseId, db, ({ sets }, call) => sets.add(key, members, call))
    return reply(c, add, 200, { key, added })
  })
  .openapi(remove, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, members } = c.req.valid('json')
    const { db } = c.req.valid('query')
    const removed = await writing(c.env, databaseId, db, ({ sets }, call) => sets.remove(key, members, call))
    return reply(c, remove, 200, { key, removed })
  })
  .openapi(pop, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, count } = c.req.valid('json')
    const { db, encoding } = c.req.valid('query')
    const data = await writing(c.env, databaseId, db, ({ sets }, call) => sets.pop(key, count, encoding, call))
    return reply(c, pop, 200, { key: echo(key, encoding), data: [...data] })
  })
  .openapi(move, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { source, destination, member: moving } = c.req.valid('json')
    const { db } = c.req.valid('query')
    const moved = await writing(c.env, databaseId, db, ({ sets }, call) => sets.move(source, destination, moving, call))
    return reply(c, move, 200, { moved })
  })
