import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { clientsOf } from '#src/engines/redis/server/clients.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { askServers, Unreachable } from './server-schemas.ts'

const list = contract({
  method: 'get',
  path: '/{databaseId}/clients',
  operationId: 'RedisClientsController_list',
  tags: ['redis'],
  summary: 'List the connections to the server',
  description:
    'Of all databases and users, with the fields of CLIENT LIST as text; of a cluster those of every primary, which each names as node.',
  access: 'admin',
  operation: 'read',
  request: { params: DatabaseIdParams },
  responses: {
    200: json(
      z.object({ data: z.array(z.record(z.string(), z.string())), unreachable: Unreachable }).openapi('RedisClients', {
        example: {
          data: [{ id: '3', addr: '127.0.0.1:58217', name: '', db: '0', cmd: 'client|list', user: 'default' }],
        },
      }),
      'The connections',
    ),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const clients = createRouter().openapi(list, async (c) => {
  const { databaseId } = c.req.valid('param')
  c.env.databaseId = databaseId
  const { call } = c.env
  const answer = await c.env.deps.read(redis, databaseId, call, (session) =>
    askServers(session, call, async (all) => ({ data: await clientsOf(all, call) })),
  )
  return reply(c, list, 200, { ...answer, data: [...answer.data] })
})
