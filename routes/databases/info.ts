import { z } from '@hono/zod-openapi'
import { requireRole, roleAt, visibleTo } from '#src/access/authorize.ts'
import { databaseNotFound } from '#src/registry/connections.ts'
import { contract, databaseFailures, failures, json, scoped } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { toPublic } from '#src/registry/database.ts'
import { etagOf } from '#src/http/preconditions.ts'
import { Database, DatabaseName, DatabaseParams, ProjectRef, ServerInfo } from './schemas.ts'

const stats = contract({
  [scoped]: true,
  method: 'get',
  path: '/stats',
  operationId: 'DatabasesController_stats',
  tags: ['databases'],
  summary: 'Count registered databases by type',
  description: 'At most a minute old.',
  access: 'read',
  operation: 'read',
  responses: {
    200: json(
      z.array(
        z
          .object({
            type: z.string(),
            total: z.number().int(),
            active: z.number().int(),
            recently_connected: z.number().int().openapi({ description: 'Connected within the last hour' }),
          })
          .openapi('DatabaseStats', { example: { type: 'redis', total: 3, active: 2, recently_connected: 1 } }),
      ),
      'One entry per type that is registered',
    ),
    ...failures(),
  },
})

const byName = contract({
  [scoped]: true,
  method: 'get',
  path: '/by-name/{projectRef}/{name}',
  operationId: 'DatabasesController_getByName',
  tags: ['databases'],
  summary: 'Get a registered database by name',
  description: 'Names are unique within a project.',
  access: 'read',
  operation: 'read',
  request: { params: z.object({ projectRef: ProjectRef, name: DatabaseName }) },
  responses: { 200: json(Database, 'The database'), ...failures('VALIDATION_FAILED', 'DB_NOT_FOUND') },
})

const info = contract({
  method: 'get',
  path: '/{id}/info',
  operationId: 'DatabasesController_info',
  tags: ['databases'],
  summary: 'Ask a database what it is',
  description: "Product, version, uptime, size, role and the engine's own block, from the store itself.",
  access: 'read',
  operation: 'read',
  request: { params: DatabaseParams },
  responses: {
    200: json(ServerInfo, 'What the server says'),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const inspections = createRouter()
  .openapi(stats, async (c) => reply(c, stats, 200, [...(await c.env.deps.registry.stats(await visibleTo(c.env)))]))
  .openapi(byName, async (c) => {
    const { projectRef, name } = c.req.valid('param')
    const row = await c.env.deps.registry.getByName(projectRef, name)
    requireRole(await roleAt(c.env, { projectId: row.project_id, databaseId: row.id }), 'read', databaseNotFound)
    return reply(c, byName, 200, toPublic(row), { etag: etagOf(row.version) })
  })
  .openapi(info, async (c) => {
    const { id } = c.req.valid('param')
    c.env.databaseId = id
    const found = await c.env.deps.registry.info(id, c.env.call)
    return reply(c, info, 200, { ...found, warnings: [...found.warnings] })
  })
