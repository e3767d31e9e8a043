import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { DatabaseNumber } from './schemas.ts'
import { NodeName } from './server-schemas.ts'

const info = contract({
  method: 'get',
  path: '/{databaseId}/info',
  operationId: 'RedisInfoController_get',
  tags: ['redis'],
  summary: 'Read INFO',
  description:
    'The raw text, and the same by section in lower case with values as text. A name that comes twice in a section, as of modules, is whole in the raw text alone. Of a cluster, one node speaks, which node names.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      section: z
        .string()
        .regex(/^[A-Za-z_]{1,32}$/, { error: 'must be the name of an INFO section' })
        .optional()
        .openapi({
          description: "Only this section, all, or everything; Redis' own choice unless given",
          examples: ['memory'],
        }),
      db: DatabaseNumber,
    }),
  },
  responses: {
    200: json(
      z
        .object({ raw: z.string(), parsed: z.record(z.string(), z.record(z.string(), z.string())), node: NodeName })
        .openapi('RedisInfo', {
          example: {
            raw: '# Memory\r\nused_memory:1048576\r\n',
            parsed: { memory: { used_memory: '1048576' } },
          },
        }),
      'What INFO says',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const serverInfo = createRouter().openapi(info, async (c) => {
  const { databaseId } = c.req.valid('param')
  c.env.databaseId = databaseId
  const { section, db } = c.req.valid('query')
  const { call } = c.env
  return reply(
    c,
    info,
    200,
    await c.env.deps.read(redis, databaseId, call, (session) =>
      session.in(db, call, ({ server }) => server.info(section, call)),
    ),
  )
})
