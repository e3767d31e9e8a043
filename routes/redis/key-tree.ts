import { z } from '@hono/zod-openapi'
import { readCursor, signCursor } from '#src/credentials/signed.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { beginsWith } from '#src/engines/redis/keyspace/scan-pattern.ts'
import { type Encoding as EncodingName, toBytes } from '#src/engines/redis/values.ts'
import { invalid } from '#src/errors.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams, wholeNumber } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { maxPatternBytes } from './keys.ts'
import { DatabaseNumber, DatabaseSize, Encoding, keyOf, RedisValue } from './schemas.ts'

const maxSeparatorBytes = 16

/** What parts the names of keys. */
export const Separator = z
  .string()
  .min(1)
  .refine((value) => Buffer.byteLength(value) <= maxSeparatorBytes, {
    error: `must be at most ${maxSeparatorBytes} bytes`,
  })
  .default(':')
  .openapi({ description: 'What parts the names, at most 16 bytes', default: ':' })

const tree = contract({
  method: 'get',
  path: '/{databaseId}/keys/tree',
  operationId: 'RedisKeysController_tree',
  tags: ['redis'],
  summary: 'Show keys as a tree of names',
  description:
    'What is below a prefix, at most 1,000 names, from up to 100,000 keys looked at or 250 ms. Where complete is false the counts are of what this page met: pages of one walk are added up by name, keys and types as sums and is_key as either, until has_more is false.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      prefix: z
        .string()
        .default('')
        .openapi({
          description: 'With the separator at its end; the root unless given. base64 with encoding=base64',
          examples: ['user:'],
        }),
      separator: Separator,
      depth: wholeNumber(1, 5, 1).openapi({ description: 'Levels of names below the prefix' }),
      cursor: pageCursor(1000),
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
              name: RedisValue,
              level: z.number().openapi({ description: '1 is directly below the prefix' }),
              keys: z.number().openapi({ description: 'Keys of this name or below it' }),
              is_key: z.boolean().openapi({ description: 'Whether a key has just this name' }),
              types: z.record(z.string(), z.number()).openapi({
                description: 'These keys by type, but for those whose TYPE the user may not ask for',
              }),
            }),
          ),
          pagination: z.object({ next_cursor: z.string().nullable(), has_more: z.boolean() }),
          complete: z.boolean().openapi({ description: 'Whether this page alone tells of every key below the prefix' }),
          prefix_is_key: z.boolean().openapi({ description: 'Whether a key has the name of the prefix' }),
          scanned: z.number().openapi({ description: 'Keys looked at for this page, about' }),
          db_size: DatabaseSize,
        })
        .openapi('RedisKeyTree', {
          example: {
            data: [{ name: 'user:1', level: 1, keys: 3, is_key: true, types: { hash: 1, string: 2 } }],
            pagination: { next_cursor: null, has_more: false },
            complete: true,
            prefix_is_key: false,
            scanned: 3,
            db_size: 3,
          },
        }),
      'A page of names',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const keyTree = createRouter().openapi(tree, async (c) => {
  const { databaseId } = c.req.valid('param')
  const { cursor, prefix: text, separator, depth, encoding, db } = c.req.valid('query')
  c.env.databaseId = databaseId
  const prefix = prefixOf(text, encoding)
  const scope = JSON.stringify(['redis-tree', databaseId, db ?? null, prefix, separator, depth])
  const from = cursor === undefined ? '0' : String(readCursor(c.env.deps.keyring, scope, cursor)[0])
  const { call } = c.env
  const page = await c.env.deps.read(redis, databaseId, call, (session) =>
    session.in(db, call, (store) => store.tree.below({ prefix, separator, depth, encoding, cursor: from }, call)),
  )
  return reply(c, tree, 200, {
    data: page.nodes.map((node) => ({ ...node, types: { ...node.types } })),
    pagination: {
      next_cursor: page.cursor === null ? null : signCursor(c.env.deps.keyring, scope, [page.cursor]),
      has_more: page.cursor !== null,
    },
    complete: cursor === undefined && page.cursor === null,
    prefix_is_key: page.prefix_is_key,
    scanned: page.scanned,
    db_size: page.db_size,
  })
})

function prefixOf(text: string, encoding: EncodingName) {
  if (encoding === 'base64' && !z.base64().safeParse(text).success)
    throw invalid('prefix', 'must be base64 with encoding=base64')
  const prefix = keyOf(text, encoding)
  if (beginsWith(toBytes(prefix)).length > maxPatternBytes)
    throw invalid('prefix', `must be at most ${maxPatternBytes - 1} bytes, of which glob characters count twice`)
  return prefix
}
