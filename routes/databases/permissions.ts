import { z } from '@hono/zod-openapi'
import { body, contract, failures, json } from '#src/http/contract.ts'
import { pageOf, readPosition } from '#src/http/paging.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { databaseNotFound } from '#src/registry/connections.ts'
import { DatabaseGrant, grantedBy, GrantsQuery, noSuchGrant, SetGrant, UserUuid } from '../grants.ts'
import { DatabaseParams } from './schemas.ts'

const UserParams = DatabaseParams.extend({ userId: UserUuid })

const list = contract({
  method: 'get',
  path: '/{id}/permissions',
  operationId: 'DatabasePermissionsController_list',
  tags: ['databases'],
  summary: 'List the users granted a database',
  description: 'Newest first. The next page is in the Link header. Grants of the whole project are listed there.',
  access: 'admin',
  operation: 'read',
  request: { params: DatabaseParams, query: GrantsQuery },
  responses: {
    200: json(z.array(DatabaseGrant), 'A page of grants'),
    ...failures('VALIDATION_FAILED', 'DB_NOT_FOUND'),
  },
})

const set = contract({
  method: 'put',
  path: '/{id}/permissions/{userId}',
  operationId: 'DatabasePermissionsController_set',
  tags: ['databases'],
  summary: 'Grant a user a role on a database',
  description: 'Replaces the role the user had on it. Heard on every instance within a second.',
  access: 'admin',
  operation: 'write',
  request: { params: UserParams, body: body(SetGrant) },
  responses: {
    200: json(DatabaseGrant, 'The grant'),
    ...failures('VALIDATION_FAILED', 'DB_NOT_FOUND', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'),
  },
})

const remove = contract({
  method: 'delete',
  path: '/{id}/permissions/{userId}',
  operationId: 'DatabasePermissionsController_remove',
  tags: ['databases'],
  summary: 'Take a grant of a database away',
  description: 'A grant of the whole project stays. Heard on every instance within a second.',
  access: 'admin',
  operation: 'delete',
  request: { params: UserParams },
  responses: {
    204: { description: 'Taken away' },
    ...failures('VALIDATION_FAILED', 'DB_NOT_FOUND', 'NOT_FOUND'),
  },
})

export const permissions = createRouter()
  .openapi(list, async (c) => {
    const { id } = c.req.valid('param')
    c.env.databaseId = id
    const { limit, cursor } = c.req.valid('query')
    await c.env.deps.registry.read(id)
    const after = readPosition(c, cursor)
    const rows = await c.env.deps.grants.listOfDatabase(id, { limit: limit + 1, after })
    const { page, headers } = pageOf(c, rows, limit)
    return reply(c, list, 200, page, headers)
  })
  .openapi(set, async (c) => {
    const { id, userId } = c.req.valid('param')
    c.env.databaseId = id
    const { role } = c.req.valid('json')
    const grant = { userId, role, grantedBy: grantedBy(c.env.principal) }
    const row = await c.env.deps.grants.setOnDatabase(id, grant)
    if (row === undefined) throw databaseNotFound()
    return reply(c, set, 200, row)
  })
  .openapi(remove, async (c) => {
    const { id, userId } = c.req.valid('param')
    c.env.databaseId = id
    if (!(await c.env.deps.grants.removeFromDatabase(id, userId))) {
      await c.env.deps.registry.get(id)
      throw noSuchGrant()
    }
    return c.body(null, 204)
  })
