import { z } from '@hono/zod-openapi'
import { body, contract, failures, json, reply } from '#src/http/contract.ts'
import { booleanQuery, commaList, limit, text } from '#src/http/fields.ts'
import { pageOf, readPosition } from '#src/http/paging.ts'
import { etagOf } from '#src/http/preconditions.ts'
import { createRouter } from '#src/http/router.ts'
import { toPublic } from '#src/registry/database.ts'
import { ChangedDatabase, CreateDatabase, Database, DatabaseStatus, DatabaseType, ProjectRef } from './schemas.ts'

const list = contract({
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
      projectRef: ProjectRef.optional(),
      types: commaList(DatabaseType)
        .optional()
        .openapi({ type: 'string', description: 'Comma-joined', example: 'redis,postgres' }),
      status: DatabaseStatus.optional(),
      search: text(200, 1).optional().openapi({ description: 'Part of the name or description' }),
      limit,
      cursor: text(1000, 1).optional(),
    }),
  },
  responses: { 200: json(z.array(Database), 'A page of databases'), ...failures('VALIDATION_FAILED') },
})

const create = contract({
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
    ...failures(
      'VALIDATION_FAILED',
      'TARGET_NOT_ALLOWED',
      'FEATURE_DISABLED',
      'NOT_FOUND',
      'CONFLICT',
      'PAYLOAD_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
    ),
  },
})

export const collection = createRouter()
  .openapi(list, async (c) => {
    const { cursor, ...filter } = c.req.valid('query')
    const after = readPosition(c, cursor)
    const rows = await c.var.deps.databases.list({ ...filter, limit: filter.limit + 1, after })
    return reply(c, list, 200, pageOf(c, rows, filter.limit).map(toPublic))
  })
  .openapi(create, async (c) => {
    const { skipTest } = c.req.valid('query')
    const { row, warnings } = await c.var.deps.registry.create(c.req.valid('json'), skipTest, c.var.call.signal)
    c.set('databaseId', row.id)
    c.header('location', `/api/platform/databases/${row.id}`)
    c.header('etag', etagOf(row.version))
    return reply(c, create, 201, { ...toPublic(row), warnings: [...warnings] })
  })
