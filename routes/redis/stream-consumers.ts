import { z } from '@hono/zod-openapi'
import { wholeNumber } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { readContract, writeContract } from './contracts.ts'
import { DatabaseNumber, Encoding, RedisValue } from './schemas.ts'
import { echo, Pagination, paginationOf, reading, readPosition, valueOf, writing } from './set-schemas.ts'
import { ConsumerBody, GroupQuery, idBound, StreamKey } from './stream-schemas.ts'

const paged = {
  key: StreamKey,
  group: GroupQuery,
  count: wholeNumber(1, 1000, 100).openapi({ description: 'Items per page' }),
  cursor: pageCursor(4_000),
  encoding: Encoding,
  db: DatabaseNumber,
}

const list = readContract({
  path: '/{databaseId}/streams/consumers',
  operationId: 'RedisStreamConsumersController_list',
  summary: 'List the consumers of a group',
  description: 'In the order of their names.',
  query: z.object(paged),
  answer: z
    .object({
      key: RedisValue,
      group: RedisValue,
      data: z.array(
        z.object({
          consumer: RedisValue,
          pending: z.number(),
          idle_ms: z.number().openapi({ description: 'Since it last tried to read' }),
          inactive_ms: z
            .number()
            .nullable()
            .openapi({ description: 'Since it last got anything; null before Redis 7.2' }),
        }),
      ),
      pagination: Pagination,
      length: z.number().openapi({ description: 'Consumers of the group' }),
    })
    .openapi('RedisStreamConsumerPage', {
      example: {
        key: 'events',
        group: 'mailers',
        data: [{ consumer: 'worker-1', pending: 1, idle_ms: 1500, inactive_ms: null }],
        pagination: { next_cursor: null, has_more: false },
        length: 1,
      },
    }),
  answered: 'A page of consumers',
})

const remove = writeContract({
  path: '/{databaseId}/streams/consumers/delete',
  operationId: 'RedisStreamConsumersController_remove',
  summary: 'Delete a consumer of a group',
  description: 'What is pending with it can not be claimed any more: claim it before.',
  operation: 'delete',
  body: z
    .strictObject(ConsumerBody)
    .openapi('RedisStreamConsumerDelete', { example: { key: 'events', group: 'mailers', consumer: 'worker-1' } }),
  answer: z
    .object({
      consumer: RedisValue,
      pending: z.number().openapi({ description: 'Entries that were pending with it' }),
    })
    .openapi('RedisStreamConsumerDeleted', { example: { consumer: 'worker-1', pending: 1 } }),
  answered: 'What was pending with it',
})

const pending = readContract({
  path: '/{databaseId}/streams/pending',
  operationId: 'RedisStreamConsumersController_pending',
  summary: 'List what is pending in a group',
  description:
    'Entries that were delivered and not acknowledged, in the order of their ids, and a summary of all of them.',
  query: z.object({
    ...paged,
    consumer: z
      .string()
      .optional()
      .openapi({ description: 'Only of this consumer; base64 with encoding=base64', examples: ['worker-1'] }),
    start: idBound('-').openapi({ description: 'The lowest id', default: '-' }),
    end: idBound('+').openapi({ description: 'The highest id', default: '+' }),
    minIdleMs: wholeNumber(0, 999_999_999_999, 0).openapi({
      description: 'Only what was last delivered so long ago; Redis 6.2',
    }),
  }),
  answer: z
    .object({
      key: RedisValue,
      group: RedisValue,
      summary: z.object({
        pending: z.number(),
        first_id: z.string().nullable(),
        last_id: z.string().nullable(),
        consumers: z
          .array(z.object({ consumer: RedisValue, pending: z.number() }))
          .openapi({ description: '1,000 at the most' }),
      }),
      data: z.array(
        z.object({
          id: z.string(),
          consumer: RedisValue,
          idle_ms: z.number().openapi({ description: 'Since it was last delivered' }),
          deliveries: z.number(),
        }),
      ),
      pagination: Pagination,
    })
    .openapi('RedisStreamPending', {
      example: {
        key: 'events',
        group: 'mailers',
        summary: {
          pending: 1,
          first_id: '1700000000000-0',
          last_id: '1700000000000-0',
          consumers: [{ consumer: 'worker-1', pending: 1 }],
        },
        data: [{ id: '1700000000000-0', consumer: 'worker-1', idle_ms: 1500, deliveries: 1 }],
        pagination: { next_cursor: null, has_more: false },
      },
    }),
  answered: 'A page of pending entries',
})

export const streamConsumers = createRouter()
  .openapi(list, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, group, cursor, db, count, encoding } = c.req.valid('query')
    const name = { key: valueOf('key', key, encoding), group: valueOf('group', group, encoding) }
    const scope = ['redis-stream-consumers', databaseId, db ?? null, key, group, encoding]
    const position = readPosition(c.env, scope, cursor)
    const { data, length, next } = await reading(c.env, databaseId, db, ({ streamGroups }, call) =>
      streamGroups.consumers(name, { count, position, encoding }, call),
    )
    return reply(c, list, 200, {
      key: echo(name.key, encoding),
      group: echo(name.group, encoding),
      data: [...data],
      pagination: paginationOf(c.env, scope, next),
      length,
    })
  })
  .openapi(remove, async (c) => {
    const { databaseId } = c.req.valid('param')
    const name = c.req.valid('json')
    const { db } = c.req.valid('query')
    const left = await writing(c.env, databaseId, db, ({ streamGroups }, call) =>
      streamGroups.deleteConsumer(name, call),
    )
    return reply(c, remove, 200, { consumer: name.consumer, pending: left })
  })
  .openapi(pending, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, group, consumer, cursor, db, minIdleMs, ...query } = c.req.valid('query')
    const { encoding, start, end } = query
    const name = { key: valueOf('key', key, encoding), group: valueOf('group', group, encoding) }
    const owner = consumer === undefined ? undefined : valueOf('consumer', consumer, encoding)
    const scope = [
      'redis-pending',
      databaseId,
      db ?? null,
      key,
      group,
      encoding,
      consumer ?? null,
      start,
      end,
      minIdleMs,
    ]
    const position = readPosition(c.env, scope, cursor)
    const { data, summary, next } = await reading(c.env, databaseId, db, ({ pendingEntries }, call) =>
      pendingEntries.page({ ...query, ...name, consumer: owner, minIdleMs: minIdleMs || undefined, position }, call),
    )
    return reply(c, pending, 200, {
      key: echo(name.key, encoding),
      group: echo(name.group, encoding),
      summary: { ...summary, consumers: [...summary.consumers] },
      data: [...data],
      pagination: paginationOf(c.env, scope, next),
    })
  })
