import { z } from '@hono/zod-openapi'
import { contract, databaseFailures, failures, json, reply } from '#src/http/contract.ts'
import { createRouter } from '#src/http/router.ts'
import { toPublic } from '#src/registry/database.ts'
import { etagOf } from '#src/http/preconditions.ts'
import { Database, DatabaseName, DatabaseParams, ProjectRef, ServerInfo } from './schemas.ts'

const stats = contract({
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
          .openapi('DatabaseStats'),
      ),
      'One entry per type that is registered',
    ),
    ...failures(),
  },
})

const byName = contract({
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
  responses: { 200: json(ServerInfo, 'What the server says'), ...failures(...databaseFailures) },
})

export const inspections = createRouter()
  .openapi(stats, async (c) => reply(c, stats, 200, [...(await c.var.deps.registry.stats())]))
  .openapi(byName, async (c) => {
    const { projectRef, name } = c.req.valid('param')
    const row = await c.var.deps.registry.getByName(projectRef, name)
    c.header('etag', etagOf(row.version))
    return reply(c, byName, 200, toPublic(row))
  })
  .openapi(info, async (c) => {
    const { id } = c.req.valid('param')
    c.set('databaseId', id)
    const found = await c.var.deps.registry.info(id, c.var.call)
    return reply(c, info, 200, { ...found, warnings: [...found.warnings] })
  })
