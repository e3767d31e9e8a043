import { invalid } from '#src/errors.ts'
import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import type { Encoding as EncodingName, RedisValue as Value } from '#src/engines/redis/values.ts'
import { body, contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { Encoding, RedisValue } from './schemas.ts'

const get = contract({
  method: 'get',
  path: '/{databaseId}/get',
  operationId: 'RedisStringsController_get',
  tags: ['redis'],
  summary: 'Get a string value',
  description: 'Other types have routes of their own; a value above 1 MiB is RESULT_TOO_LARGE.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      key: z.string().openapi({ description: 'Any text; base64 with encoding=base64', example: 'greeting' }),
      encoding: Encoding,
    }),
  },
  responses: {
    200: json(
      z
        .object({ key: RedisValue, type: z.literal('string'), value: RedisValue, ttl_ms: z.number().nullable() })
        .openapi('RedisString', { example: { key: 'greeting', type: 'string', value: 'hello', ttl_ms: 60000 } }),
      'The value',
    ),
    ...failures(...databaseFailures, 'NOT_FOUND', 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

const set = contract({
  method: 'post',
  path: '/{databaseId}/set',
  operationId: 'RedisStringsController_set',
  tags: ['redis'],
  summary: 'Set a string value',
  description:
    'Replaces a value of any type and drops its TTL unless keepTtl is set; nx writes only a new key, xx only an existing one.',
  access: 'write',
  operation: 'write',
  request: {
    params: DatabaseIdParams,
    body: body(
      z
        .strictObject({
          key: RedisValue,
          value: RedisValue,
          ttlMs: z.int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
          nx: z.boolean().optional(),
          xx: z.boolean().optional(),
          keepTtl: z.boolean().optional(),
        })
        .refine((value) => !(value.nx && value.xx), { error: 'nx and xx exclude each other', path: ['nx'] })
        .refine((value) => !(value.keepTtl && value.ttlMs !== undefined), {
          error: 'keepTtl and ttlMs exclude each other',
          path: ['keepTtl'],
        })
        .openapi('SetRedisString', { example: { key: 'greeting', value: 'hello', ttlMs: 60000 } }),
    ),
  },
  responses: {
    200: json(
      z
        .object({ key: RedisValue, written: z.boolean().openapi({ description: 'false when nx or xx forbade it' }) })
        .openapi('RedisWritten', { example: { key: 'greeting', written: true } }),
      'Whether it was written',
    ),
    ...failures(
      ...databaseFailures,
      'DB_QUERY_ERROR',
      'DB_READ_ONLY',
      'DB_NOT_PRIMARY',
      'PAYLOAD_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
    ),
  },
})

export const strings = createRouter()
  .openapi(get, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, encoding } = c.req.valid('query')
    c.env.databaseId = databaseId
    const { call } = c.env
    const name = keyOf(key, encoding)
    return reply(
      c,
      get,
      200,
      await c.env.deps.read(redis, databaseId, call, (session) => session.get(name, encoding, call)),
    )
  })
  .openapi(set, async (c) => {
    const { databaseId } = c.req.valid('param')
    const request = c.req.valid('json')
    c.env.databaseId = databaseId
    using session = await c.env.deps.open(redis, databaseId, c.env.call)
    return reply(c, set, 200, { key: request.key, written: await session.set(request, c.env.call) })
  })

function keyOf(text: string, encoding: EncodingName): Value {
  if (encoding === 'utf8') return text
  if (!z.base64().safeParse(text).success) throw invalid('key', 'must be base64 with encoding=base64')
  return { base64: text }
}
