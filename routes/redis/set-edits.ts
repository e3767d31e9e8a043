import { z } from '@hono/zod-openapi'
import { body, contract, json } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { RedisValue } from './schemas.ts'
import { echo, encodedWriteQuery, writeFailures, writeQuery, writing } from './set-schemas.ts'

const maxMembers = 1_000
const params = DatabaseIdParams

const Members = z
  .strictObject({ key: RedisValue, members: z.array(RedisValue).min(1).max(maxMembers) })
  .openapi('RedisSetEdit', { example: { key: 'colours', members: ['red', 'green'] } })

const add = contract({
  method: 'post',
  path: '/{databaseId}/sets/add',
  tags: ['redis'],
  operationId: 'RedisSetsController_add',
  summary: 'Add members to a set',
  description: 'Makes the set where there is none.',
  access: 'write',
  operation: 'write',
  request: { params, query: writeQuery, body: body(Members) },
  responses: {
    200: json(
      z
        .object({ key: RedisValue, added: z.number().openapi({ description: 'Those that are new' }) })
        .openapi('RedisSetAdded', { example: { key: 'colours', added: 2 } }),
      'How many are new',
    ),
    ...writeFailures,
  },
})

const remove = contract({
  method: 'post',
  path: '/{databaseId}/sets/remove',
  tags: ['redis'],
  operationId: 'RedisSetsController_remove',
  summary: 'Remove members from a set',
  description: 'A set without members is no more.',
  access: 'write',
  operation: 'delete',
  request: { params, query: writeQuery, body: body(Members) },
  responses: {
    200: json(
      z
        .object({ key: RedisValue, removed: z.number().openapi({ description: 'Those that were there' }) })
        .openapi('RedisRemoved', { example: { key: 'colours', removed: 2 } }),
      'How many were there',
    ),
    ...writeFailures,
  },
})

const pop = contract({
  method: 'post',
  path: '/{databaseId}/sets/pop',
  tags: ['redis'],
  operationId: 'RedisSetsController_pop',
  summary: 'Remove members of a set by chance',
  description:
    'Answers what it removed; each member goes to one caller only. Where a chosen member is above 1 MiB it is RESULT_TOO_LARGE and stays.',
  access: 'write',
  operation: 'delete',
  request: {
    params,
    query: encodedWriteQuery,
    body: body(
      z
        .strictObject({ key: RedisValue, count: z.int().min(1).max(maxMembers).default(1) })
        .openapi('RedisSetPop', { example: { key: 'colours', count: 1 } }),
    ),
  },
  responses: {
    200: json(
      z
        .object({ key: RedisValue, data: z.array(z.object({ member: RedisValue })) })
        .openapi('RedisSetPopped', { example: { key: 'colours', data: [{ member: 'red' }] } }),
      'What was removed',
    ),
    ...writeFailures,
  },
})

const move = contract({
  method: 'post',
  path: '/{databaseId}/sets/move',
  tags: ['redis'],
  operationId: 'RedisSetsController_move',
  summary: 'Move a member to another set',
  description: 'At once for all who look.',
  access: 'write',
  operation: 'write',
  request: {
    params,
    query: writeQuery,
    body: body(
      z
        .strictObject({ source: RedisValue, destination: RedisValue, member: RedisValue })
        .openapi('RedisSetMove', { example: { source: 'colours', destination: 'used-colours', member: 'red' } }),
    ),
  },
  responses: {
    200: json(
      z
        .object({ moved: z.boolean().openapi({ description: 'false where the source has no such member' }) })
        .openapi('RedisSetMoved', { example: { moved: true } }),
      'Whether it was moved',
    ),
    ...writeFailures,
  },
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
