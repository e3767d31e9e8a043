import type { Context } from 'hono'
import type { Env } from '#src/http/env.ts'
import { body, contract, failures, json } from '#src/http/contract.ts'
import { reply, replyKept } from '#src/http/reply.ts'
import { etagOf, readIfMatch } from '#src/http/preconditions.ts'
import { createRouter } from '#src/http/router.ts'
import { type DatabaseRow, toPublic } from '#src/registry/database.ts'
import { probeRefused, probingFailures } from './failures.ts'
import { ChangedDatabase, Database, DatabaseParams, IfMatch, UpdateDatabase } from './schemas.ts'

const get = contract({
  method: 'get',
  path: '/{id}',
  operationId: 'DatabasesController_get',
  tags: ['databases'],
  summary: 'Get a registered database',
  description: 'The row with its connection string masked; the ETag is its version.',
  access: 'read',
  operation: 'read',
  request: { params: DatabaseParams },
  responses: { 200: json(Database, 'The database'), ...failures('VALIDATION_FAILED', 'DB_NOT_FOUND') },
})

const update = contract({
  method: 'patch',
  path: '/{id}',
  operationId: 'DatabasesController_update',
  tags: ['databases'],
  summary: 'Change a registered database',
  description:
    'Connects again when the target changes. A new host, port, TLS mode or CA needs the whole credential. Fields left out stay as they are.',
  access: 'admin',
  operation: 'write',
  request: { params: DatabaseParams, headers: IfMatch, body: body(UpdateDatabase) },
  responses: {
    200: json(ChangedDatabase, 'The changed database'),
    ...failures(
      ...probingFailures,
      'DB_NOT_FOUND',
      'NOT_FOUND',
      'CONFLICT',
      'PRECONDITION_FAILED',
      'PAYLOAD_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
    ),
    400: probeRefused('DB_CREDENTIALS_UNREADABLE'),
  },
})

const remove = contract({
  method: 'delete',
  path: '/{id}',
  operationId: 'DatabasesController_remove',
  tags: ['databases'],
  summary: 'Remove a registered database',
  description: 'Forgets the registration and closes its connections. The store itself is not touched.',
  access: 'admin',
  operation: 'delete',
  request: { params: DatabaseParams, headers: IfMatch },
  responses: {
    204: { description: 'Removed' },
    ...failures('VALIDATION_FAILED', 'DB_NOT_FOUND', 'PRECONDITION_FAILED'),
  },
})

export const one = createRouter()
  .openapi(get, (c) => {
    const row = c.env.deps.registry.read(c.req.valid('param').id, c.env)
    return row instanceof Promise ? row.then((found) => show(c, found)) : show(c, row)
  })
  .openapi(update, async (c) => {
    const { id } = c.req.valid('param')
    c.env.databaseId = id
    const expected = readIfMatch(c.req.valid('header')['if-match'])
    const { row, warnings } = await c.env.deps.registry.update(id, c.req.valid('json'), expected, c.env.call.signal)
    return reply(c, update, 200, { ...toPublic(row), warnings: [...warnings] }, { etag: etagOf(row.version) })
  })
  .openapi(remove, async (c) => {
    const { id } = c.req.valid('param')
    c.env.databaseId = id
    await c.env.deps.registry.remove(id, readIfMatch(c.req.valid('header')['if-match']))
    return c.body(null, 204)
  })

function show(c: Context<Env>, row: DatabaseRow) {
  return replyKept(c, get, 200, row, toPublic, { etag: etagOf(row.version) })
}
