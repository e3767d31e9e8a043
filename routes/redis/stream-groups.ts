import { z } from '@hono/zod-openapi'
import { wholeNumber } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { readContract, writeContract } from './contracts.ts'
import { DatabaseNumber, Encoding, RedisValue } from './schemas.ts'
import { echo, Pagination, paginationOf, reading, readPosition, valueOf, writing } from './set-schemas.ts'
import { EntryId, GroupBody, StreamKey } from './stream-schemas.ts'

const list = readContract({
  path: '/{databaseId}/streams/groups',
  operationId: 'RedisStreamGroupsController_list',
  summary: 'List the consumer groups of a stream',
  description: 'In the order of their names.',
  query: z.object({
    key: StreamKey,
    count: wholeNumber(1, 1000, 100).openapi({ description: 'Groups per page' }),
    cursor: pageCursor(4_000),
    encoding: Encoding,
    db: DatabaseNumber,
  }),
  answer: z
    .object({
      key: RedisValue,
      data: z.array(
        z.object({
          group: RedisValue,
          consumers: z.number(),
          pending: z.number(),
          last_delivered_id: z.string(),
          entries_read: z.string().nullable().openapi({ description: 'null before Redis 7, or where it is unknown' }),
          lag: z
            .string()
            .nullable()
            .openapi({ description: 'Entries not delivered yet; null before Redis 7, or where it is unknown' }),
        }),
      ),
      pagination: Pagination,
      length: z.number().openapi({ description: 'Groups of the stream' }),
    })
    .openapi('RedisStreamGroupPage', {
      example: {
        key: 'events',
        data: [
          {
            group: 'mailers',
            consumers: 1,
            pending: 1,
            last_delivered_id: '1700000000000-0',
            entries_read: '1',
            lag: '0',
          },
        ],
        pagination: { next_cursor: null, has_more: false },
        length: 1,
      },
    }),
  answered: 'A page of groups',
})

const startRule = 'must be $ (the last entry), or an id'
const GroupStart = {
  id: z
    .union([z.literal('$'), EntryId], { error: startRule })
    .openapi({ description: '`$`: what is added from now on; `0`: all there is; an id: what follows it' }),
  entriesRead: z.int().min(0).optional().openapi({ description: 'Entries read until there, for `lag`; Redis 7' }),
}

const create = writeContract({
  path: '/{databaseId}/streams/groups',
  operationId: 'RedisStreamGroupsController_create',
  summary: 'Create a consumer group',
  description:
    'NOT_FOUND without the stream, unless mkStream makes an empty one; DB_CONFLICT for a group that is there.',
  operation: 'write',
  body: z
    .strictObject({ ...GroupBody, ...GroupStart, id: GroupStart.id.default('$'), mkStream: z.boolean().optional() })
    .openapi('RedisStreamGroupCreate', {
      example: { key: 'events', group: 'mailers', id: '0', mkStream: true },
    }),
  answer: z
    .object({ key: RedisValue, group: RedisValue })
    .openapi('RedisStreamGroup', { example: { key: 'events', group: 'mailers' } }),
  answered: 'The group',
})

const setId = writeContract({
  path: '/{databaseId}/streams/groups/set-id',
  operationId: 'RedisStreamGroupsController_setId',
  summary: 'Set where a consumer group goes on',
  description: 'Back, so that entries are delivered again, or forward; what is pending stays pending.',
  operation: 'write',
  body: z
    .strictObject({ ...GroupBody, ...GroupStart })
    .openapi('RedisStreamGroupSetId', { example: { key: 'events', group: 'mailers', id: '0' } }),
  answer: z
    .object({ key: RedisValue, group: RedisValue, id: z.string() })
    .openapi('RedisStreamGroupId', { example: { key: 'events', group: 'mailers', id: '0' } }),
  answered: 'The group and its id',
})

const destroy = writeContract({
  path: '/{databaseId}/streams/groups/delete',
  operationId: 'RedisStreamGroupsController_remove',
  summary: 'Delete a consumer group',
  description: 'With its consumers, and with all that is pending in it; the entries stay.',
  operation: 'delete',
  body: z.strictObject(GroupBody).openapi('RedisStreamGroupDelete', { example: { key: 'events', group: 'mailers' } }),
  answer: z
    .object({
      key: RedisValue,
      group: RedisValue,
      deleted: z.boolean().openapi({ description: 'Whether it was there' }),
    })
    .openapi('RedisStreamGroupDeleted', { example: { key: 'events', group: 'mailers', deleted: true } }),
  answered: 'Whether it was there',
})

export const streamGroups = createRouter()
  .openapi(list, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, cursor, db, count, encoding } = c.req.valid('query')
    const name = valueOf('key', key, encoding)
    const scope = ['redis-stream-groups', databaseId, db ?? null, key, encoding]
    const position = readPosition(c.env, scope, cursor)
    const { data, length, next } = await reading(c.env, databaseId, db, ({ streamGroups }, call) =>
      streamGroups.list(name, { count, position, encoding }, call),
    )
    return reply(c, list, 200, {
      key: echo(name, encoding),
      data: [...data],
      pagination: paginationOf(c.env, scope, next),
      length,
    })
  })
  .openapi(create, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { id, entriesRead, mkStream, ...name } = c.req.valid('json')
    const { db } = c.req.valid('query')
    await writing(c.env, databaseId, db, ({ streamGroups }, call) =>
      streamGroups.create(name, { id, entriesRead, mkStream }, call),
    )
    return reply(c, create, 200, name)
  })
  .openapi(setId, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { id, entriesRead, ...name } = c.req.valid('json')
    const { db } = c.req.valid('query')
    await writing(c.env, databaseId, db, ({ streamGroups }, call) =>
      streamGroups.setId(name, { id, entriesRead }, call),
    )
    return reply(c, setId, 200, { ...name, id })
  })
  .openapi(destroy, async (c) => {
    const { databaseId } = c.req.valid('param')
    const name = c.req.valid('json')
    const { db } = c.req.valid('query')
    const deleted = await writing(c.env, databaseId, db, ({ streamGroups }, call) => streamGroups.destroy(name, call))
    return reply(c, destroy, 200, { ...name, deleted })
  })
