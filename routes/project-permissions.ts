import { z } from '@hono/zod-openapi'
import { projectNotFound } from '#src/registry/project-store.ts'
import { body, contract, failures, json } from '#src/http/contract.ts'
import { pageOf, readPosition } from '#src/http/paging.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { ProjectRef } from './databases/schemas.ts'
import { grantedBy, GrantsQuery, noSuchGrant, ProjectGrant, SetGrant, UserId } from './grants.ts'

const ProjectParams = z.object({ ref: ProjectRef })
const UserParams = ProjectParams.extend({ userId: UserId })

const list = contract({
  method: 'get',
  path: '/{ref}/permissions',
  operationId: 'ProjectPermissionsController_list',
  tags: ['projects'],
  summary: 'List the users granted a project',
  description: 'Newest first. The next page is in the Link header. Grants of single databases are listed there.',
  access: 'admin',
  operation: 'read',
  request: { params: ProjectParams, query: GrantsQuery },
  responses: { 200: json(z.array(ProjectGrant), 'A page of grants'), ...failures('VALIDATION_FAILED', 'NOT_FOUND') },
})

const set = contract({
  method: 'put',
  path: '/{ref}/permissions/{userId}',
  operationId: 'ProjectPermissionsController_set',
  tags: ['projects'],
  summary: 'Grant a user a role on a project',
  description:
    'On every database of it, later ones too. Replaces the role the user had on it. Heard on every instance within a second.',
  access: 'admin',
  operation: 'write',
  request: { params: UserParams, body: body(SetGrant) },
  responses: {
    200: json(ProjectGrant, 'The grant'),
    ...failures('VALIDATION_FAILED', 'NOT_FOUND', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'),
  },
})

const remove = contract({
  method: 'delete',
  path: '/{ref}/permissions/{userId}',
  operationId: 'ProjectPermissionsController_remove',
  tags: ['projects'],
  summary: 'Take a grant of a project away',
  description: 'Grants of single databases stay. Heard on every instance within a second.',
  access: 'admin',
  operation: 'delete',
  request: { params: UserParams },
  responses: { 204: { description: 'Taken away' }, ...failures('VALIDATION_FAILED', 'NOT_FOUND') },
})

export const projectPermissions = createRouter()
  .openapi(list, async (c) => {
    const { ref } = c.req.valid('param')
    const { limit, cursor } = c.req.valid('query')
    if ((await c.env.deps.projects.getProject(ref)) === undefined) throw projectNotFound()
    const after = readPosition(c, cursor)
    const rows = await c.env.deps.grants.listOfProject(ref, { limit: limit + 1, after })
    const { page, headers } = pageOf(c, rows, limit)
    return reply(c, list, 200, page, headers)
  })
  .openapi(set, async (c) => {
    const { ref, userId } = c.req.valid('param')
    const { role } = c.req.valid('json')
    const grant = { userId, role, grantedBy: grantedBy(c.env.principal) }
    const row = await c.env.deps.grants.setOnProject(ref, grant)
    if (row === undefined) throw projectNotFound()
    return reply(c, set, 200, row)
  })
  .openapi(remove, async (c) => {
    const { ref, userId } = c.req.valid('param')
    if (await c.env.deps.grants.removeFromProject(ref, userId)) return c.body(null, 204)
    if ((await c.env.deps.projects.getProject(ref)) === undefined) throw projectNotFound()
    throw noSuchGrant()
  })
