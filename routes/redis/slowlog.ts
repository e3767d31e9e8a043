import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { resetSlowest, slowest } from '#src/engines/redis/server/slowlog.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { DatabaseIdParams, wholeNumber } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { Encoding, RedisValue } from './schemas.ts'
import { askServers, NodeName, Unreachable } from './server-schemas.ts'

const list = contract({
  method: 'get',
  path: '/{databaseId}/slowlog',
  operationId: 'RedisSlowlogController_list',
  tags: ['redis'],
  summary: 'Read the slow log',
  description:
    'Commands of all databases and users of the server that took longer than slowlog-log-slower-than, the newest first. Redis cuts long ones off and leaves passwords out; keys and values stand in them. Of a cluster those of every primary, which each names as node; id is its own count.',
  access: 'admin',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      count: wholeNumber(1, 1000, 100).openapi({ description: 'How many at the most' }),
      encoding: Encoding,
    }),
  },
  responses: {
    200: json(
      z
        .object({
          data: z.array(
            z.object({
              id: z.number(),
              timestamp: z.number().openapi({ description: 'Seconds since 1970' }),
              duration_us: z.number(),
              command: z.array(RedisValue),
              client: z.string().optional().openapi({ description: 'Address and port' }),
              client_name: z.string().optional(),
              node: NodeName,
            }),
          ),
          kept: z.number().openapi({ description: 'How many are kept now, of a cluster on all primaries' }),
          unreachable: Unreachable,
        })
        .openapi('RedisSlowlog', {
          example: {
            data: [
              {
                id: 14,
                timestamp: 1792000000,
                duration_us: 15034,
                command: ['KEYS', '*'],
                client: '127.0.0.1:58217',
                client_name: '',
              },
            ],
            kept: 1,
          },
        }),
      'The slow commands',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

const reset = contract({
  method: 'post',
  path: '/{databaseId}/slowlog/reset',
  operationId: 'RedisSlowlogController_reset',
  tags: ['redis'],
  summary: 'Empty the slow log',
  description: 'Of the whole server, of a cluster on every primary.',
  access: 'admin',
  operation: 'write',
  request: { params: DatabaseIdParams },
  responses: {
    200: json(
      z.object({ reset: z.literal(true) }).openapi('RedisSlowlogReset', { example: { reset: true } }),
      'Emptied',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_READ_ONLY', 'DB_NOT_PRIMARY'),
  },
})

export const slowlog = createRouter()
  .openapi(list, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { count, encoding } = c.req.valid('query')
    c.env.databaseId = databaseId
    const { call } = c.env
    const { entries, ...answer } = await c.env.deps.read(redis, databaseId, call, (session) =>
      askServers(session, call, (all) => slowest(all, count, encoding, call)),
    )
    return reply(c, list, 200, { data: entries.map((entry) => ({ ...entry, command: [...entry.command] })), ...answer })
  })
  .openapi(reset, async (c) => {
    const { databaseId } = c.req.valid('param')
    c.env.databaseId = databaseId
    const { call } = c.env
    using session = await c.env.deps.open(redis, databaseId, call)
    await session.everywhere(call, (all) => resetSlowest(all, call))
    return reply(c, reset, 200, { reset: true })
  })
