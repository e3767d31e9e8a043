import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { body, contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { DatabaseNumber, Encoding, RedisValue } from './schemas.ts'

const many = contract({
  method: 'post',
  path: '/{databaseId}/mget',
  operationId: 'RedisStringsController_many',
  tags: ['redis'],
  summary: 'Get several string values',
  description:
    'In the order of the keys. A value above 1 MiB is told by its size alone; more than 8 MiB together are RESULT_TOO_LARGE.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({ db: DatabaseNumber }),
    body: body(
      z
        .strictObject({ keys: z.array(RedisValue).min(1).max(1000), encoding: Encoding })
        .openapi('GetManyRedisStrings', { example: { keys: ['greeting', 'absent'] } }),
    ),
  },
  responses: {
    200: json(
      z
        .object({
          data: z.array(
            z.object({
              key: RedisValue,
              value: z.union([RedisValue, z.null()]),
              size_bytes: z.number().nullable(),
              missing: z
                .enum(['absent', 'wrong_type', 'too_large'])
                .nullable()
                .openapi({ description: 'Why there is no value' }),
            }),
          ),
        })
        .openapi('RedisStrings', {
          example: {
            data: [
              { key: 'greeting', value: 'hello', size_bytes: 5, missing: null },
              { key: 'absent', value: null, size_bytes: null, missing: 'absent' },
            ],
          },
        }),
      'The values',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'),
  },
})

export const mget = createRouter().openapi(many, async (c) => {
  const { keys, encoding } = c.req.valid('json')
  const { databaseId } = c.req.valid('param')
  const { db } = c.req.valid('query')
  c.env.databaseId = databaseId
  const { call } = c.env
  const data = await c.env.deps.read(redis, databaseId, call, (session) =>
    session.in(db, call, ({ stringEdits: edits }) => edits.many(keys, encoding, call)),
  )
  return reply(c, many, 200, { data: [...data] })
})
