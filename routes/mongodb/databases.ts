import { z } from '@hono/zod-openapi'
import { mongodb } from '#src/engines/mongodb/engine.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { databaseName } from './schemas.ts'

const list = contract({
  method: 'get',
  path: '/{databaseId}/databases',
  operationId: 'MongoDatabasesController_list',
  tags: ['mongodb'],
  summary: 'List databases of the server',
  description: 'Those the user may see.',
  access: 'read',
  operation: 'read',
  request: { params: DatabaseIdParams },
  responses: {
    200: json(
      z
        .object({ data: z.array(z.object({ name: z.string(), size_on_disk: z.number(), empty: z.boolean() })) })
        .openapi('MongoDatabases', { example: { data: [{ name: 'app', size_on_disk: 73728, empty: false }] } }),
      'The databases',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

const stats = contract({
  method: 'get',
  path: '/{databaseId}/stats',
  operationId: 'MongoDatabasesController_stats',
  tags: ['mongodb'],
  summary: 'Statistics of a database',
  description: "The server's dbStats.",
  access: 'read',
  operation: 'read',
  request: { params: DatabaseIdParams, query: z.object({ databaseName }) },
  responses: {
    200: json(
      z
        .record(z.string(), z.unknown())
        .openapi('MongoStats', { example: { db: 'app', collections: 1, objects: 2, dataSize: 118, ok: 1 } }),
      'The statistics',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const databases = createRouter()
  .openapi(list, async (c) => {
    const { databaseId } = c.req.valid('param')
    c.env.databaseId = databaseId
    using session = await c.env.deps.open(mongodb, databaseId, c.env.call)
    return reply(c, list, 200, { data: [...(await session.databases(c.env.call))] })
  })
  .openapi(stats, async (c) => {
    const { databaseId } = c.req.valid('param')
    c.env.databaseId = databaseId
    using session = await c.env.deps.open(mongodb, databaseId, c.env.call)
    return reply(c, stats, 200, { ...(await session.stats(c.req.valid('query').databaseName ?? '', c.env.call)) })
  })
