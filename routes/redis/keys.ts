import { z } from '@hono/zod-openapi'
import { readCursor, signCursor } from '#src/credentials/signed.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams, wholeNumber } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { Encoding, RedisValue } from './schemas.ts'

const maxPatternBytes = 256

const list = contract({
  method: 'get',
  path: '/{databaseId}/keys',
  operationId: 'RedisKeysController_list',
  tags: ['redis'],
  summary: 'Page through keys',
  description:
    'By SCAN, never KEYS: a page may be empty while has_more is true, or a little longer than count, and a key that is written meanwhile may come twice.',
  access: 'read',
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
        .openapi({ description: 'Glob, at most 256 bytes', examples: ['session:*'] }),
      type: z
        .string()
        .regex(/^[A-Za-z0-9_-]{1,32}$/, { error: 'must be the name of a Redis type' })
        .optional()
        .openapi({ description: 'Only keys of this type', examples: ['string'] }),
      count: wholeNumber(1, 1000, 100).openapi({ description: 'Keys per page, about' }),
      cursor: pageCursor(1000),
      encoding: Encoding,
    }),
  },
  responses: {
    200: json(
      z
        .object({
          data: z.array(
            z.object({
              key: RedisValue,
              type: z.string(),
              ttl_ms: z.number().nullable().openapi({ description: 'null: never expires' }),
            }),
          ),
          pagination: z.object({ next_cursor: z.string().nullable(), has_more: z.boolean() }),
          scanned: z.number().openapi({ description: 'Keys looked at for this page, about' }),
          db_size: z.number(),
        })
        .openapi('RedisKeyPage', {
          example: {
            data: [{ key: 'greeting', type: 'string', ttl_ms: 60000 }],
            pagination: { next_cursor: null, has_more: false },
            scanned: 1,
            db_size: 1,
          },
        }),
      'A page of keys',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const keys = createRouter().openapi(list, async (c) => {
  const { databaseId } = c.req.valid('param')
  const { cursor, ...query } = c.req.valid('query')
  c.env.databaseId = databaseId
  // A cursor means nothing under another pattern or type.
  const scope = JSON.stringify(['redis-keys', databaseId, query.pattern, query.type ?? null])
  const from = cursor === undefined ? '0' : String(readCursor(c.env.deps.keyring, scope, cursor)[0])
  const { call } = c.env
  const page = await c.env.deps.read(redis, databaseId, call, (session) =>
    session.scan({ ...query, cursor: from }, call),
  )
  return reply(c, list, 200, {
    data: [...page.keys],
    pagination: {
      next_cursor: page.cursor === null ? null : signCursor(c.env.deps.keyring, scope, [page.cursor]),
      has_more: page.cursor !== null,
    },
    scanned: page.scanned,
    db_size: page.db_size,
  })
})
