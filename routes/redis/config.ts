import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { NodeName } from './server-schemas.ts'

const maxPatternBytes = 256

const get = contract({
  method: 'get',
  path: '/{databaseId}/config',
  operationId: 'RedisConfigController_get',
  tags: ['redis'],
  summary: "Read the server's settings",
  description:
    'By CONFIG GET, as text, of a cluster those of one node, which node names; passwords that are set are ****. Nothing here changes one.',
  access: 'admin',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      pattern: z
        .string()
        .min(1)
        .refine((value) => Buffer.byteLength(value) <= maxPatternBytes, {
          error: `must be at most ${maxPatternBytes} bytes`,
        })
        .default('*')
        .openapi({ description: 'Glob, at most 256 bytes', examples: ['maxmemory*'] }),
    }),
  },
  responses: {
    200: json(
      z.object({ config: z.record(z.string(), z.string()), node: NodeName }).openapi('RedisConfig', {
        example: { config: { maxmemory: '0', 'maxmemory-policy': 'noeviction', requirepass: '****' } },
      }),
      'The settings whose names match',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const config = createRouter().openapi(get, async (c) => {
  const { databaseId } = c.req.valid('param')
  const { pattern } = c.req.valid('query')
  c.env.databaseId = databaseId
  const { call } = c.env
  const answer = await c.env.deps.read(redis, databaseId, call, ({ server }) => server.settings(pattern, call))
  return reply(c, get, 200, { ...answer, config: { ...answer.config } })
})
