import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { contract, databaseFailures, failures, json, reply } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'

const info = contract({
  method: 'get',
  path: '/{databaseId}/info',
  operationId: 'RedisInfoController_get',
  tags: ['redis'],
  summary: 'Read INFO',
  description: 'The raw text and the same as sections of text values.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      section: z
        .string()
        .regex(/^[A-Za-z_]{1,32}$/, { error: 'must be the name of an INFO section' })
        .optional()
        .openapi({ example: 'memory' }),
    }),
  },
  responses: {
    200: json(
      z
        .object({ raw: z.string(), parsed: z.record(z.string(), z.record(z.string(), z.string())) })
        .openapi('RedisInfo'),
      'What INFO says',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR'),
  },
})

export const serverInfo = createRouter().openapi(info, async (c) => {
  const { databaseId } = c.req.valid('param')
  c.set('databaseId', databaseId)
  await using session = await c.var.deps.open(redis, databaseId, c.var.call)
  return reply(c, info, 200, await session.serverInfo(c.req.valid('query').section, c.var.call))
})
