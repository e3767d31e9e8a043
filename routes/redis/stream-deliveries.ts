import { z } from '@hono/zod-openapi'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { writeContract } from './contracts.ts'
import { RedisValue } from './schemas.ts'
import { echo, encodedWriteQuery, writing } from './set-schemas.ts'
import { ConsumerBody, EntryId, EntryIds, GroupBody, StreamEntry } from './stream-schemas.ts'

const maxEntries = 1_000
const count = z.int().min(1).max(maxEntries).default(100).openapi({ description: 'Entries at the most' })
const minIdleMs = z
  .int()
  .min(0)
  .openapi({ description: 'Only what was last delivered so long ago: 0 takes it from whoever is at work on it' })
const justId = z.boolean().optional().openapi({ description: 'Answers ids alone, and counts no delivery' })

const Entries = z.object({ key: RedisValue, data: z.array(StreamEntry) }).openapi('RedisStreamEntries', {
  example: { key: 'events', data: [{ id: '1700000000000-0', fields: [{ field: 'kind', value: 'signup' }] }] },
})

const read = writeContract({
  path: '/{databaseId}/streams/groups/read',
  operationId: 'RedisStreamDeliveriesController_read',
  summary: 'Read as a consumer of a group',
  description:
    'XREADGROUP, which never waits here. What is delivered is pending until it is acknowledged, also where the answer is lost or too large: an id instead of `>` answers it again.',
  operation: 'write',
  query: encodedWriteQuery,
  body: z
    .strictObject({
      ...ConsumerBody,
      id: z
        .union([z.literal('>'), EntryId], { error: 'must be >, or an id' })
        .default('>')
        .openapi({
          description: '`>`: what nobody was given yet; an id: what is pending with this consumer after it',
        }),
      count,
      noAck: z.boolean().optional().openapi({ description: 'Nothing becomes pending: an answer that is lost is lost' }),
    })
    .openapi('RedisStreamRead', {
      example: { key: 'events', group: 'mailers', consumer: 'worker-1', id: '>', count: 10 },
    }),
  answer: Entries,
  answered: 'The entries',
})

const acknowledge = writeContract({
  path: '/{databaseId}/streams/groups/ack',
  operationId: 'RedisStreamDeliveriesController_acknowledge',
  summary: 'Acknowledge entries',
  description: 'They are pending no more; an absent key, group or id counts as none.',
  operation: 'write',
  body: z
    .strictObject({ ...GroupBody, ids: EntryIds })
    .openapi('RedisStreamAck', { example: { key: 'events', group: 'mailers', ids: ['1700000000000-0'] } }),
  answer: z
    .object({ key: RedisValue, acknowledged: z.number().openapi({ description: 'Those that were pending' }) })
    .openapi('RedisStreamAcknowledged', { example: { key: 'events', acknowledged: 1 } }),
  answered: 'How many were pending',
})

const claim = writeContract({
  path: '/{databaseId}/streams/groups/claim',
  operationId: 'RedisStreamDeliveriesController_claim',
  summary: 'Take over pending entries',
  description: 'Gives a consumer what is pending with another; answers those it got.',
  operation: 'write',
  query: encodedWriteQuery,
  body: z
    .strictObject({
      ...ConsumerBody,
      ids: EntryIds,
      minIdleMs,
      idleMs: z.int().min(0).optional().openapi({ description: 'Counts as delivered so long ago; now unless given' }),
      deliveries: z.int().min(0).optional().openapi({ description: 'Counts as delivered so often' }),
      force: z.boolean().optional().openapi({ description: 'Also what is pending with nobody' }),
      justId,
    })
    .openapi('RedisStreamClaim', {
      example: {
        key: 'events',
        group: 'mailers',
        consumer: 'worker-2',
        ids: ['1700000000000-0'],
        minIdleMs: 60000,
      },
    }),
  answer: Entries,
  answered: 'The entries',
})

const autoclaim = writeContract({
  path: '/{databaseId}/streams/groups/autoclaim',
  operationId: 'RedisStreamDeliveriesController_autoclaim',
  summary: 'Take over whatever is pending for long',
  description:
    'XAUTOCLAIM (Redis 6.2): goes through what is pending from `start`; next_start is where the next one goes on.',
  operation: 'write',
  query: encodedWriteQuery,
  body: z
    .strictObject({ ...ConsumerBody, minIdleMs, start: EntryId.default('0-0'), count, justId })
    .openapi('RedisStreamAutoclaim', {
      example: {
        key: 'events',
        group: 'mailers',
        consumer: 'worker-2',
        minIdleMs: 60000,
        start: '0-0',
        count: 10,
      },
    }),
  answer: z
    .object({
      key: RedisValue,
      data: z.array(StreamEntry),
      next_start: z.string().nullable().openapi({ description: 'null at the end' }),
      deleted_ids: z
        .array(z.string())
        .openapi({ description: 'Pending no more, for the entries are deleted; empty before Redis 7' }),
    })
    .openapi('RedisStreamAutoclaimed', {
      example: {
        key: 'events',
        data: [{ id: '1700000000000-0', fields: [{ field: 'kind', value: 'signup' }] }],
        next_start: null,
        deleted_ids: [],
      },
    }),
  answered: 'The entries',
})

export const streamDeliveries = createRouter()
  .openapi(read, async (c) => {
    const { databaseId } = c.req.valid('param')
    const request = c.req.valid('json')
    const { db, encoding } = c.req.valid('query')
    const data = await writing(c.env, databaseId, db, ({ pendingEntries }, call) =>
      pendingEntries.read(request, encoding, call),
    )
    return reply(c, read, 200, { key: echo(request.key, encoding), data: [...data] })
  })
  .openapi(acknowledge, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { ids, ...name } = c.req.valid('json')
    const { db } = c.req.valid('query')
    const acknowledged = await writing(c.env, databaseId, db, ({ pendingEntries }, call) =>
      pendingEntries.acknowledge(name, ids, call),
    )
    return reply(c, acknowledge, 200, { key: name.key, acknowledged })
  })
  .openapi(claim, async (c) => {
    const { databaseId } = c.req.valid('param')
    const request = c.req.valid('json')
    const { db, encoding } = c.req.valid('query')
    const data = await writing(c.env, databaseId, db, ({ pendingEntries }, call) =>
      pendingEntries.claim(request, encoding, call),
    )
    return reply(c, claim, 200, { key: echo(request.key, encoding), data: [...data] })
  })
  .openapi(autoclaim, async (c) => {
    const { databaseId } = c.req.valid('param')
    const request = c.req.valid('json')
    const { db, encoding } = c.req.valid('query')
    const claimed = await writing(c.env, databaseId, db, ({ pendingEntries }, call) =>
      pendingEntries.autoclaim(request, encoding, call),
    )
    return reply(c, autoclaim, 200, {
      key: echo(request.key, encoding),
      data: [...claimed.data],
      next_start: claimed.next_start,
      deleted_ids: [...claimed.deleted_ids],
    })
  })
