import { visibleTo } from '#src/access/authorize.ts'
import { z } from '@hono/zod-openapi'
import { projectNotFound } from '#src/registry/project-store.ts'
import { body, contract, failures, json, scoped } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { booleanQuery, text } from '#src/http/fields.ts'
import { pageOf, readPosition } from '#src/http/paging.ts'
import { createRouter } from '#src/http/router.ts'
import { ProjectRef } from './databases/schemas.ts'
import { Slug } from './organizations.ts'
import { pageCursor, pageSize } from './parameters.ts'

const Project = z
  .object({
    id: z.uuid(),
    organization_id: z.uuid().nullable(),
    organization_slug: z.string().nullable(),
    name: z.string(),
    slug: z.string(),
    ref: z.string(),
    status: z.string().nullable(),
    created_at: z.string(),
    updated_at: z.string(),
  })
  .openapi('Project', {
    example: {
      id: '7d1f5a40-9f0c-4f6b-8d0e-2c6b1a3e4f55',
      organization_id: 'c0a8f1de-5b7e-4c7d-8f53-6a1f0d3b9e02',
      organization_slug: 'default',
      name: 'Shop',
      slug: 'shop',
      ref: 'shop',
      status: 'ACTIVE_HEALTHY',
      created_at: '2026-11-20T09:30:00.123456Z',
      updated_at: '2026-11-20T09:30:00.123456Z',
    },
  })

const params = z.object({ ref: ProjectRef })

const list = contract({
  [scoped]: true,
  method: 'get',
  path: '/',
  operationId: 'ProjectsController_list',
  tags: ['projects'],
  summary: 'List projects',
  description: 'Newest first. The next page is in the Link header.',
  access: 'read',
  operation: 'read',
  request: {
    query: z.object({
      organizationSlug: Slug.optional().openapi({
        description: 'Only projects of this organization',
        example: undefined,
        examples: ['default'],
      }),
      limit: pageSize,
      cursor: pageCursor(1000),
    }),
  },
  responses: { 200: json(z.array(Project), 'A page of projects'), ...failures('VALIDATION_FAILED') },
})

const create = contract({
  method: 'post',
  path: '/',
  operationId: 'ProjectsController_create',
  tags: ['projects'],
  summary: 'Create a project',
  description: 'The ref is unique and does not change; it is also the slug.',
  access: 'admin',
  operation: 'write',
  request: {
    body: body(
      z
        .strictObject({ name: text(200, 1), ref: ProjectRef, organizationSlug: Slug })
        .openapi('CreateProject', { example: { name: 'Shop', ref: 'shop', organizationSlug: 'default' } }),
    ),
  },
  responses: {
    201: json(Project, 'The project'),
    ...failures('VALIDATION_FAILED', 'NOT_FOUND', 'CONFLICT', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'),
  },
})

const get = contract({
  method: 'get',
  path: '/{ref}',
  operationId: 'ProjectsController_get',
  tags: ['projects'],
  summary: 'Get a project',
  description: 'Columns that hold credentials are never answered.',
  access: 'read',
  operation: 'read',
  request: { params },
  responses: { 200: json(Project, 'The project'), ...failures('VALIDATION_FAILED', 'NOT_FOUND') },
})

const update = contract({
  method: 'patch',
  path: '/{ref}',
  operationId: 'ProjectsController_update',
  tags: ['projects'],
  summary: 'Rename a project',
  description: 'The ref stays as it is.',
  access: 'admin',
  operation: 'write',
  request: {
    params,
    body: body(z.strictObject({ name: text(200, 1) }).openapi('UpdateProject', { example: { name: 'Shop EU' } })),
  },
  responses: {
    200: json(Project, 'The project'),
    ...failures('VALIDATION_FAILED', 'NOT_FOUND', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'),
  },
})

const remove = contract({
  method: 'delete',
  path: '/{ref}',
  operationId: 'ProjectsController_remove',
  tags: ['projects'],
  summary: 'Delete a project',
  description: 'With cascade=true its registered databases go too; the stores themselves are not touched.',
  access: 'admin',
  operation: 'delete',
  request: {
    params,
    query: z.object({
      cascade: booleanQuery.default(false).openapi({
        type: 'boolean',
        description: 'Forget its registered databases too, instead of 409',
        default: false,
      }),
    }),
  },
  responses: { 204: { description: 'Deleted' }, ...failures('VALIDATION_FAILED', 'NOT_FOUND', 'CONFLICT') },
})

export const projects = createRouter()
  .openapi(list, async (c) => {
    const { cursor, ...query } = c.req.valid('query')
    const rows = await c.env.deps.projects.listProjects({
      visible: await visibleTo(c.env),
      ...query,
      limit: query.limit + 1,
      after: readPosition(c, cursor),
    })
    const { page, headers } = pageOf(c, rows, query.limit)
    return reply(c, list, 200, page, headers)
  })
  .openapi(create, async (c) => reply(c, create, 201, await c.env.deps.projects.createProject(c.req.valid('json'))))
  .openapi(get, async (c) => reply(c, get, 200, found(await c.env.deps.projects.getProject(c.req.valid('param').ref))))
  .openapi(update, async (c) => {
    const renamed = await c.env.deps.projects.renameProject(c.req.valid('param').ref, c.req.valid('json').name)
    return reply(c, update, 200, found(renamed))
  })
  .openapi(remove, async (c) => {
    found(await c.env.deps.projects.removeProject(c.req.valid('param').ref, c.req.valid('query').cascade))
    return c.body(null, 204)
  })

function found<T>(project: T | undefined): T {
  if (project === undefined) throw projectNotFound()
  return project
}
