import { z } from '@hono/zod-openapi'
import { requireRole, roleAt, visibleTo } from '#src/access/authorize.ts'
import { projectNotFound } from '#src/registry/project-store.ts'
import { body, contract, failures, json, listed, scoped } from '#src/http/contract.ts'
import { reply, replyListed } from '#src/http/reply.ts'
import { booleanQuery, commaList, text } from '#src/http/fields.ts'
import { pageOf, readPosition } from '#src/http/paging.ts'
import { etagOf } from '#src/http/preconditions.ts'
import { createRouter } from '#src/http/router.ts'
import { toPublic } from '#src/registry/database.ts'
import { pageCursor, pageSize } from '../parameters.ts'
import { probeRefused, probingFailures } from './failures.ts'
import { ChangedDatabase, CreateDatabase, Database, DatabaseStatus, DatabaseType, ProjectRef } from './schemas.ts'

const list = contract({
  [scoped]: true,
  [listed]: true,
  method: 'get',
  path: '/',
  operationId: 'DatabasesController_list',
  tags: ['databases'],
  summary: 'List registered databases',
  description: 'Newest first. The next page is in the Link header.',
  access: 'read',
  operation: 'read',
  request: {
    query: z.object({
      projectRef: ProjectRef.optional().openapi({
        description: 'Only databases of this project',
        example: undefined,
        examples: ['default'],
      }),
      types: commaList(DatabaseType)
        .optional()
        .openapi({ type: 'string', description: 'Only these types, comma-joined', examples: ['redis,postgres'] }),
      status: DatabaseStatus.optional().openapi({ description: 'Only databases in this status' }),
      search: text(200, 1)
        .optional()
        .openapi({ description: 'Part of the name or description', examples: ['cache'] }),
      limit: pageSize,
      cursor: pageCursor(1000),
    }),
  },
  responses: { 200: json(z.array(Database), 'A page of databases'), ...failures('VALIDATION_FAILED') },
})

const create = contract({
  [scoped]: true,
  method: 'post',
  path: '/',
  operationId: 'DatabasesController_create',
  tags: ['databases'],
  summary: 'Register a database',
  description: 'Connects first and saves only what answers. Give connectionString, or host and the other fields.',
  access: 'admin',
  operation: 'write',
  request: {
    query: z.object({
      skipTest: booleanQuery
        .default(false)
        .openapi({ type: 'boolean', description: 'Save without connecting', default: false }),
    }),
    body: body(CreateDatabase),
  },
  responses: {
    201: json(ChangedDatabase, 'The registered database; Location and ETag name it'),
    ...failures(...probingFailures, 'NOT_FOUND', 'CONFLICT', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'),
    400: probeRefused(),
  },
})

export const collection = createRouter()
  .openapi(list, (c) => {
    return replyListed(c, list, 200, async () => {
      const { cursor, ...filter } = c.req.valid('query')
      const after = readPosition(c, cursor)
      const visible = await visibleTo(c.env)
      const rows = await c.env.deps.databases.list({ ...filter, visible, limit: filter.limit + 1, after })
      const { page, headers } = pageOf(c, rows, filter.limit)
      return { page: page.map(toPublic), headers }
    })
  })
  .openapi(create, async (c) => {
    const { skipTest } = c.req.valid('query')
    const { projectRef } = c.req.valid('json')
    const project = await c.env.deps.projects.getProject(projectRef)
    const role = project && (await roleAt(c.env, { projectId: project.id }))
    requireRole(role, 'admin', projectNotFound)
    const { row, warnings } = await c.env.deps.registry.create(c.req.valid('json'), skipTest, c.env.call.signal)
    c.env.databaseId = row.id
    const headers = { location: `/api/platform/databases/${row.id}`, etag: etagOf(row.version) }
    return reply(c, create, 201, { ...toPublic(row), warnings: [...warnings] }, headers)
  })
