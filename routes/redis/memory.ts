import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { ttlClasses } from '#src/engines/redis/keyspace/scan-sizes.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams, wholeNumber } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { Separator } from './key-tree.ts'
import { DatabaseNumber, DatabaseSize, RedisValue } from './schemas.ts'

const Estimate = z
  .number()
  .nullable()
  .openapi({ description: 'In proportion, of all keys; null: db_size is not known, and the sample not complete' })
const share = {
  keys: z.number().openapi({ description: 'Of the sample' }),
  bytes: z.number().openapi({ description: 'Of the sample' }),
  estimated_keys: Estimate,
  estimated_bytes: Estimate,
} as const
const all = { keys: 2, bytes: 160, estimated_keys: 2, estimated_bytes: 160 } as const
const one = { keys: 1, bytes: 80, estimated_keys: 1, estimated_bytes: 80 } as const

const report = contract({
  method: 'get',
  path: '/{databaseId}/memory',
  operationId: 'RedisMemoryController_get',
  tags: ['redis'],
  summary: 'Report where the memory goes',
  description:
    'By prefix, type and TTL, from a sample: the first keys SCAN meets, which go by the hash of their names, with MEMORY USAGE SAMPLES 5 each, for a second at the most. Estimates are in proportion to db_size, and null for a user who may not DBSIZE unless the sample is complete. 400 DB_QUERY_ERROR for a user who may not MEMORY USAGE.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      separator: Separator,
      samples: wholeNumber(1, 10_000, 1_000).openapi({ description: 'Keys to sample, at the most' }),
      db: DatabaseNumber,
    }),
  },
  responses: {
    200: json(
      z
        .object({
          sampled: z.number(),
          refused: z.number().openapi({
            description:
              "Keys met whose TYPE or PTTL the user's ACL does not allow; they are in no other figure but db_size",
          }),
          db_size: DatabaseSize,
          complete: z.boolean().openapi({ description: 'Whether the sample is every key, but for the refused ones' }),
          total: z.object(share),
          prefixes: z
            .array(
              z.object({
                prefix: z.union([RedisValue, z.null()]).openapi({ description: 'null: keys without the separator' }),
                ...share,
              }),
            )
            .readonly()
            .openapi({ description: 'The 100 that take most, each up to and with the first separator' }),
          other_prefixes: z.object({ prefixes: z.number(), ...share }),
          types: z.array(z.object({ type: z.string(), ...share })).readonly(),
          ttls: z
            .array(z.object({ ttl: z.enum(ttlClasses), ...share }))
            .readonly()
            .openapi({ description: 'By what keys have left: up to a minute, an hour, a day, a week, and longer' }),
          biggest: z
            .array(
              z.object({ key: RedisValue, type: z.string(), ttl_ms: z.number().nullable(), size_bytes: z.number() }),
            )
            .readonly()
            .openapi({ description: 'The 20 biggest of the sample' }),
          server: z
            .object({
              info: z.record(z.string(), z.string()).nullable(),
              stats: z.record(z.string(), z.union([z.string(), z.record(z.string(), z.string())])).nullable(),
              doctor: z.string().nullable(),
            })
            .openapi({
              description: 'INFO memory, MEMORY STATS and MEMORY DOCTOR as the server says them; null: not allowed',
            }),
        })
        .openapi('RedisMemoryReport', {
          example: {
            sampled: 2,
            refused: 0,
            db_size: 2,
            complete: true,
            total: all,
            prefixes: [
              { prefix: 'user:', ...one },
              { prefix: null, ...one },
            ],
            other_prefixes: { prefixes: 0, keys: 0, bytes: 0, estimated_keys: 0, estimated_bytes: 0 },
            types: [{ type: 'string', ...all }],
            ttls: [
              { ttl: 'never', ...one },
              { ttl: 'hour', ...one },
            ],
            biggest: [{ key: 'greeting', type: 'string', ttl_ms: null, size_bytes: 80 }],
            server: { info: { used_memory: '1048576' }, stats: { 'peak.allocated': '1048576' }, doctor: null },
          },
        }),
      'The report',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const memory = createRouter().openapi(report, async (c) => {
  const { databaseId } = c.req.valid('param')
  const { db, ...query } = c.req.valid('query')
  c.env.databaseId = databaseId
  const { call } = c.env
  const found = await c.env.deps.read(redis, databaseId, call, (session) =>
    session.in(db, call, (store) => store.memory.report(query, call)),
  )
  return reply(c, report, 200, found)
})
