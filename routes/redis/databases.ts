import { z } from '@hono/zod-openapi'
import { sizesOf } from '#src/engines/redis/keyspace/databases.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { defaultDatabases } from '#src/engines/redis/options.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'

const list = contract({
  method: 'get',
  path: '/{databaseId}/databases',
  operationId: 'RedisDatabasesController_list',
  tags: ['redis'],
  summary: 'List logical databases',
  description:
    'Those that hold keys, from INFO keyspace. For a user without INFO each of the first 64 is asked for its DBSIZE; without that too, all of them are told, with keys null. What only INFO knows is null then, as for a cluster, which has database 0 alone.',
  access: 'read',
  operation: 'read',
  request: { params: DatabaseIdParams },
  responses: {
    200: json(
      z
        .object({
          data: z.array(
            z.object({
              db: z.number(),
              keys: z.number().nullable().openapi({ description: 'null: the user may neither INFO nor DBSIZE' }),
              expires: z.number().nullable().openapi({ description: 'Keys with a TTL' }),
              avg_ttl_ms: z.number().nullable().openapi({ description: "The server's estimate; null: it has none" }),
            }),
          ),
          count: z.number().nullable().openapi({ description: 'What the server has; null: CONFIG GET is not allowed' }),
          usable: z.number().openapi({ description: 'config.databases of the registration: db is below it' }),
          source: z.enum(['info', 'dbsize']),
          complete: z.boolean().openapi({
            description: 'false: there are more than were asked, or that the user may SELECT',
          }),
        })
        .openapi('RedisDatabases', {
          example: {
            data: [{ db: 0, keys: 1200, expires: 300, avg_ttl_ms: 86400000 }],
            count: 16,
            usable: 16,
            source: 'info',
            complete: true,
          },
        }),
      'The logical databases that hold keys',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const databases = createRouter().openapi(list, async (c) => {
  const { databaseId } = c.req.valid('param')
  c.env.databaseId = databaseId
  const { call, deps } = c.env
  const { config } = await deps.registry.read(databaseId, c.env)
  const configured = typeof config['databases'] === 'number' ? config['databases'] : defaultDatabases
  const usable = config['topology'] === 'cluster' ? 1 : configured
  const answer = await deps.read(redis, databaseId, call, async (session) => {
    const [listed, count] = await Promise.all([session.databases.list(call), session.databases.count(call)])
    if (listed?.clustered === true)
      return { data: [...listed.data], count, usable: 1, source: 'dbsize' as const, complete: true }
    if (listed !== null) return { data: [...listed.data], count, usable, source: 'info' as const, complete: true }
    const sizeOf = (db: number) => session.in(db, call, (store) => store.databases.size(call))
    const { data, complete } = await sizesOf(usable, sizeOf, call)
    return { data: [...data], count, usable, source: 'dbsize' as const, complete }
  })
  return reply(c, list, 200, answer)
})
