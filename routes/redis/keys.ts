import { z } from '@hono/zod-openapi'
import { readCursor, signCursor } from '#src/credentials/signed.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { invalid } from '#src/errors.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { booleanQuery, DatabaseIdParams, wholeNumber } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { DatabaseNumber, DatabaseSize, Encoding, RedisValue } from './schemas.ts'

/** Redis' globs can be made slow, so that their length is bounded (CVE-2024-31228). */
export const maxPatternBytes = 256

/** The name of a type as TYPE answers it, of a module's too. */
export const TypeName = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,32}$/, { error: 'must be the name of a Redis type' })
  .optional()
  .openapi({ description: 'Only keys of this type', examples: ['string'] })

const pattern = z
  .string()
  .min(1)
  .refine((value) => Buffer.byteLength(value) <= maxPatternBytes, {
    error: `must be at most ${maxPatternBytes} bytes`,
  })

const list = contract({
  method: 'get',
  path: '/{databaseId}/keys',
  operationId: 'RedisKeysController_list',
  tags: ['redis'],
  summary: 'Page through keys',
  description:
    'By SCAN, never KEYS, for up to 100,000 keys looked at or 250 ms: a page may be empty while has_more is true. It may be longer than count, at most twice as long and 20 more, never longer than 1,000. A key that is written meanwhile may come on two pages. A pattern without glob characters is looked up, without a scan.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      pattern: pattern.optional().openapi({
        description: 'Glob, at most 256 bytes; every key unless given. A backslash takes the next character as it is',
        examples: ['session:*'],
      }),
      patternBase64: z
        .base64({ error: 'must be base64' })
        .min(1)
        .refine((value) => Buffer.from(value, 'base64').length <= maxPatternBytes, {
          error: `must be at most ${maxPatternBytes} bytes`,
        })
        .optional()
        .openapi({ description: 'In place of pattern: its bytes, where they are no text', examples: ['/wAq'] }),
      type: TypeName,
      count: wholeNumber(1, 1000, 100).openapi({ description: 'Keys per page, about' }),
      cursor: pageCursor(1000),
      memory: booleanQuery
        .default(false)
        .openapi({ type: 'boolean', default: false, description: 'Samples what each key takes, as size_bytes' }),
      encoding: Encoding,
      db: DatabaseNumber,
    }),
  },
  responses: {
    200: json(
      z
        .object({
          data: z.array(
            z.object({
              key: RedisValue,
              type: z.string().nullable().openapi({
                description:
                  "null: the user's ACL does not allow TYPE or PTTL of this key, whose TTL and size are null too",
              }),
              ttl_ms: z.number().nullable().openapi({ description: 'null: never expires, where there is a type' }),
              size_bytes: z.number().nullable().optional().openapi({
                description: 'With memory=true: MEMORY USAGE SAMPLES 5; null: the user may not',
              }),
            }),
          ),
          pagination: z.object({ next_cursor: z.string().nullable(), has_more: z.boolean() }),
          scanned: z.number().openapi({ description: 'Keys looked at for this page, about' }),
          db_size: DatabaseSize,
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
  const { cursor, patternBase64, pattern: text, db, ...query } = c.req.valid('query')
  c.env.databaseId = databaseId
  if (patternBase64 !== undefined && text !== undefined) throw invalid('patternBase64', 'goes in place of pattern')
  const pattern = patternBase64 === undefined ? (text ?? '*') : { base64: patternBase64 }
  // A cursor means nothing under another pattern or type, or in another database.
  const scope = JSON.stringify(['redis-keys', databaseId, db ?? null, pattern, query.type ?? null])
  const from = cursor === undefined ? '0' : String(readCursor(c.env.deps.keyring, scope, cursor)[0])
  const { call } = c.env
  const page = await c.env.deps.read(redis, databaseId, call, (session) =>
    session.in(db, call, (store) => store.keys.scan({ ...query, pattern, cursor: from }, call)),
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
