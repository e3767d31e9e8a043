import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { followStream } from '#src/engines/redis/watch/tail.ts'
import { fromBytes, toArgument, toBytes } from '#src/engines/redis/values.ts'
import { contract, databaseFailures, events, failures } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { replyEvents } from '#src/http/stream.ts'
import { DatabaseNumber, Encoding, keyOf, KeyName } from './schemas.ts'

const entryId = /^\d{1,20}(-\d{1,20})?$/
const maxUint64 = 2n ** 64n - 1n
const isEntryId = (text: string) => entryId.test(text) && text.split('-').every((part) => BigInt(part) <= maxUint64)

const tail = contract({
  method: 'get',
  path: '/{databaseId}/streams/tail',
  operationId: 'RedisStreamTailController_follow',
  tags: ['redis'],
  summary: 'Follow a stream',
  description:
    'First a ready event, then an entry event each, whose id is that of the entry: a client that connects again with Last-Event-ID gets every entry once. A key that is not there yet is waited for.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      key: KeyName,
      from: z
        .string()
        .refine((text) => text === '$' || isEntryId(text), { error: 'must be $ or the id of an entry' })
        .default('$')
        .openapi({ description: 'Entries behind this id; $ is the end now, 0 the beginning', default: '$' }),
      encoding: Encoding,
      db: DatabaseNumber,
    }),
    headers: z.object({
      'last-event-id': z
        .string()
        .refine(isEntryId, { error: 'must be the id of an entry' })
        .optional()
        .openapi({ description: 'The id of the event that came last; wins over from', examples: ['1700000000000-0'] }),
    }),
  },
  responses: {
    200: events('ready { key, from }, then entry { id, fields: [{ field, value }] }'),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR'),
  },
})

export const streamTail = createRouter().openapi(tail, async (c) => {
  const { databaseId } = c.req.valid('param')
  const { key: given, from, encoding, db } = c.req.valid('query')
  const { 'last-event-id': seen } = c.req.valid('header')
  c.env.databaseId = databaseId
  const name = keyOf(given, encoding)
  const key = toArgument(name)
  return replyEvents(c, redis, databaseId, async function* entries(session, call) {
    for await (const item of followStream(() => session.watch(db, call, key), key, seen ?? from, call))
      if ('from' in item)
        yield { event: 'ready', id: item.from, data: { key: fromBytes(toBytes(name), encoding), from: item.from } }
      else {
        const fields = item.fields.map(([field, value]) => ({
          field: fromBytes(field, encoding),
          value: fromBytes(value, encoding),
        }))
        yield { event: 'entry', id: item.id, data: { id: item.id, fields } }
      }
  })
})
