import { z } from '@hono/zod-openapi'
import { mongodb } from '#src/engines/mongodb/engine.ts'
import { contract, databaseFailures, failures, json, reply } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { databaseName } from './schemas.ts'

const list = contract({
  method: 'get',
  path: '/{databaseId}/collections',
  operationId: 'MongoCollectionsController_list',
  tags: ['mongodb'],
  summary: 'List collections',
  description: 'Collections, views and time series the user may see, by name.',
  access: 'read',
  operation: 'read',
  request: { params: DatabaseIdParams, query: z.object({ databaseName }) },
  responses: {
    200: json(
      z.object({ data: z.array(z.object({ name: z.string(), type: z.string() })) }).openapi('MongoCollections'),
      'The collections',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR'),
  },
})

export const collections = createRouter().openapi(list, async (c) => {
  const { databaseId } = c.req.valid('param')
  c.set('databaseId', databaseId)
  await using session = await c.var.deps.open(mongodb, databaseId, c.var.call)
  return reply(c, list, 200, {
    data: [...(await session.collections(c.req.valid('query').databaseName ?? '', c.var.call))],
  })
})
