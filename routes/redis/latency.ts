import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { latencyOf } from '#src/engines/redis/server/latency.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { askServers, NodeName, Unreachable } from './server-schemas.ts'

const get = contract({
  method: 'get',
  path: '/{databaseId}/latency',
  operationId: 'RedisLatencyController_get',
  tags: ['redis'],
  summary: 'Read what made the server slow',
  description:
    'The events of LATENCY LATEST with their history, and the advice of LATENCY DOCTOR. Empty unless latency-monitor-threshold is set. Of a cluster those of every primary, which each names as node; the advice of each is under its name.',
  access: 'admin',
  operation: 'read',
  request: { params: DatabaseIdParams },
  responses: {
    200: json(
      z
        .object({
          events: z.array(
            z.object({
              event: z.string(),
              timestamp: z.number().openapi({ description: 'Of the latest, in seconds since 1970' }),
              latest_ms: z.number(),
              max_ms: z.number(),
              history: z
                .array(z.object({ timestamp: z.number(), ms: z.number() }))
                .openapi({ description: 'The oldest first' }),
              node: NodeName,
            }),
          ),
          doctor: z.string(),
          unreachable: Unreachable,
        })
        .openapi('RedisLatency', {
          example: {
            events: [
              {
                event: 'command',
                timestamp: 1792000000,
                latest_ms: 12,
                max_ms: 31,
                history: [{ timestamp: 1792000000, ms: 12 }],
              },
            ],
            doctor: 'Dave, I have observed latency spikes in this Redis instance.',
          },
        }),
      'Events and advice',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const latency = createRouter().openapi(get, async (c) => {
  const { databaseId } = c.req.valid('param')
  c.env.databaseId = databaseId
  const { call } = c.env
  const { events, ...answer } = await c.env.deps.read(redis, databaseId, call, (session) =>
    askServers(session, call, (all) => latencyOf(all, call)),
  )
  return reply(c, get, 200, {
    events: events.map(({ history, ...event }) => ({ ...event, history: [...history] })),
    ...answer,
  })
})
