import { z } from '@hono/zod-openapi'
import { mongodb } from '#src/engines/mongodb/engine.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
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
      z.object({ data: z.array(z.object({ name: z.string(), type: z.string() })) }).openapi('MongoCollections', {
        example: { data: [{ name: 'tasks', type: 'collection' }] },
      }),
      'The collections',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const collections = createRouter().openapi(list, async (c) => {
  const { databaseId } = c.req.valid('param')
  c.env.databaseId = databaseId
  using session = await c.env.deps.open(mongodb, databaseId, c.env.call)
  return reply(c, list, 200, {
    data: [...(await session.collections(c.req.valid('query').databaseName ?? '', c.env.call))],
  })
})
