import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { invalid } from '#src/errors.ts'
import { body, contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { DatabaseNumber, Encoding, keyOf, KeyName, RedisValue } from './schemas.ts'

const maxStringBytes = 2 ** 40

const byte = z
  .string()
  .regex(/^\d{1,13}$/, { error: 'must be a whole number' })
  .transform(Number)
  .pipe(z.int().min(0).max(maxStringBytes))
  .optional()
  .openapi({ type: 'integer', minimum: 0, maximum: maxStringBytes })

const get = contract({
  method: 'get',
  path: '/{databaseId}/get',
  operationId: 'RedisStringsController_get',
  tags: ['redis'],
  summary: 'Get a string value',
  description:
    'Other types have routes of their own. A value above 1 MiB is RESULT_TOO_LARGE as a whole, and is read piece by piece with start and end: bytes that cut a UTF-8 character come as base64.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      key: KeyName,
      start: byte.openapi({ description: 'The first byte that is read, from 0', examples: [0] }),
      end: byte.openapi({ description: 'The last byte that is read; at most 1 MiB is read at once', examples: [1023] }),
      encoding: Encoding,
      db: DatabaseNumber,
    }),
  },
  responses: {
    200: json(
      z
        .object({
          key: RedisValue,
          type: z.literal('string'),
          value: RedisValue,
          ttl_ms: z.number().nullable(),
          size_bytes: z.number().optional().openapi({ description: 'With start or end: of the whole value' }),
          start: z.number().optional(),
          end: z.number().nullable().optional().openapi({ description: 'The last byte of this piece; null: none' }),
        })
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
    query: z.object({ db: DatabaseNumber }),
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
  .openapi(get, (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, start, end, encoding, db } = c.req.valid('query')
    c.env.databaseId = databaseId
    const { call } = c.env
    const name = keyOf(key, encoding)
    if (end !== undefined && end < (start ?? 0)) throw invalid('end', 'must not be below start')
    const isWhole = start === undefined && end === undefined
    const found = c.env.deps.read(redis, databaseId, call, (session) =>
      session.in(db, call, ({ strings }) =>
        isWhole
          ? strings.get(name, encoding, call)
          : strings.range({ key: name, start: start ?? 0, end, encoding }, call),
      ),
    )
    return found.then((entry) => reply(c, get, 200, entry))
  })
  .openapi(set, (c) => {
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const request = c.req.valid('json')
    c.env.databaseId = databaseId
    const { call } = c.env
    const writing = c.env.deps.use(redis, databaseId, call, (session) =>
      session.in(db, call, ({ strings }) => strings.set(request, call)),
    )
    return writing.then((written) => reply(c, set, 200, { key: request.key, written }))
  })
