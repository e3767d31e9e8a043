import { z } from '@hono/zod-openapi'
import { callWithin } from '#src/engines/engine.ts'
import { mongodb } from '#src/engines/mongodb/engine.ts'
import { maxStages } from '#src/engines/mongodb/options.ts'
import { body, contract, databaseFailures, failures } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { allowTime } from '#src/http/limits.ts'
import { createRouter } from '#src/http/router.ts'
import { ejson, modeOf, sendEjson } from './ejson.ts'
import { collectionName, databaseName } from './schemas.ts'

const run = contract({
  method: 'post',
  path: '/{databaseId}/aggregate',
  operationId: 'MongoAggregateController_run',
  tags: ['mongodb'],
  summary: 'Run an aggregation pipeline that reads',
  description:
    'Stages that read, of one database, without JavaScript on the server and without its disk. Pipeline and answer are Extended JSON, as for documents. A result has no key to go on from: where truncated is true, narrow it with $match, or $sort and $skip.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    body: body(
      z
        .strictObject({
          collection: collectionName,
          databaseName,
          // Not objects by schema, which would drop a key named __proto__.
          pipeline: z
            .array(z.unknown().openapi({ type: 'object', additionalProperties: {} }))
            .max(maxStages)
            .openapi({ description: 'Extended JSON v2; each stage has one key' }),
          limit: z.int().min(1).max(1000).default(100),
          timeoutMs: z.int().min(100).optional(),
        })
        .openapi('MongoAggregate', {
          example: {
            collection: 'tasks',
            pipeline: [{ $match: { done: true } }, { $group: { _id: '$title', views: { $sum: '$views' } } }],
          },
        }),
    ),
  },
  responses: {
    200: ejson(
      z
        .object({
          data: z.array(z.unknown()),
          truncated: z.boolean().openapi({ description: 'true when there were more than limit documents' }),
        })
        .openapi('MongoAggregated', {
          example: { data: [{ _id: 'write', views: { $numberLong: '7' } }], truncated: false },
        }),
      'The documents, in the order the pipeline gives them',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'),
  },
})

export const aggregation = createRouter().openapi(run, async (c) => {
  const { databaseId } = c.req.valid('param')
  const { collection, limit, timeoutMs, ...given } = c.req.valid('json')
  c.env.databaseId = databaseId
  const allowedMs = allowTime(c.env, timeoutMs)
  // Loaded with the driver, when it is first used.
  const { readPipeline } = await import('#src/engines/mongodb/pipeline.ts')
  const pipeline = readPipeline(given.pipeline)
  const mode = modeOf(c)
  using call = callWithin(allowedMs, c.req.raw, c.env.readOnly)
  call.stale = (seconds) => c.env.stale(seconds)
  using session = await c.env.deps.open(mongodb, databaseId, call, c.env)
  const found = await session.aggregate(given.databaseName ?? '', collection, { pipeline, limit, mode }, call)
  return sendEjson(c, mode, `{"data":[${found.documents.join(',')}],"truncated":${found.truncated}}`)
})
