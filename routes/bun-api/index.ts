import { z } from '@hono/zod-openapi'
import { bunApi as engine } from '#src/engines/bun-api/engine.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'

const health = contract({
  method: 'get',
  path: '/{databaseId}/health',
  operationId: 'BunApiController_health',
  tags: ['bun-api'],
  summary: "Ask a peer's /health",
  description: 'ok when it answers 2xx; its body as it is.',
  access: 'read',
  operation: 'read',
  request: { params: DatabaseIdParams },
  responses: {
    200: json(
      z
        .object({ ok: z.boolean(), status: z.number().int(), latency_ms: z.number(), body: z.unknown() })
        .openapi('PeerHealth', { example: { ok: true, status: 200, latency_ms: 2.4, body: { status: 'ok' } } }),
      'What the peer answers',
    ),
    ...failures(...databaseFailures),
  },
})

const info = contract({
  method: 'get',
  path: '/{databaseId}/info',
  operationId: 'BunApiController_info',
  tags: ['bun-api'],
  summary: "Read a peer's /info",
  description: 'The JSON object the peer answers.',
  access: 'read',
  operation: 'read',
  request: { params: DatabaseIdParams },
  responses: {
    200: json(
      z.record(z.string(), z.unknown()).openapi('PeerInfo', { example: { name: 'bun-api', version: '0.1.0' } }),
      'What the peer says of itself',
    ),
    ...failures(...databaseFailures),
  },
})

export const bunApi = createRouter()
  .openapi(health, async (c) => {
    const { databaseId } = c.req.valid('param')
    c.env.databaseId = databaseId
    using session = await c.env.deps.open(engine, databaseId, c.env.call)
    const { ok, status, latency_ms, body } = await session.health(c.env.call)
    return reply(c, health, 200, { ok, status, latency_ms, body })
  })
  .openapi(info, async (c) => {
    const { databaseId } = c.req.valid('param')
    c.env.databaseId = databaseId
    using session = await c.env.deps.open(engine, databaseId, c.env.call)
    return reply(c, info, 200, { ...(await session.peerInfo(c.env.call)) })
  })
