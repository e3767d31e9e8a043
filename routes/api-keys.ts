import { z } from '@hono/zod-openapi'
import type { ApiKeyRow } from '#src/access/api-key-store.ts'
import { roles } from '#src/access/principal.ts'
import { ApiError } from '#src/errors.ts'
import { body, contract, failures, json, scoped } from '#src/http/contract.ts'
import { text, uuid } from '#src/http/fields.ts'
import { pageOf, readPosition } from '#src/http/paging.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { ProjectRef } from './databases/schemas.ts'
import { pageCursor, pageSize } from './parameters.ts'

const Role = z.enum(roles, { error: `must be one of ${roles.join(', ')}` }).openapi('Role')

const example = {
  id: '5b0a8f0e-2d1c-4e9b-8a57-4f6c1d2e3b60',
  prefix: 'k3v7q2mzn4xa',
  name: 'reporting',
  project_ref: 'default',
  database_ids: ['3f8b6c1e-6d0a-4a57-9b0e-0d6f0c9a7c11'],
  role: 'read',
  created_by: 'service',
  expires_at: '2027-12-31T00:00:00.000000Z',
  last_used_at: null,
  created_at: '2026-11-20T09:30:00.123456Z',
} as const

const fields = {
  id: z.uuid(),
  prefix: z.string().openapi({ description: 'The public part of the secret' }),
  name: z.string(),
  project_ref: z.string(),
  database_ids: z
    .array(z.uuid())
    .nullable()
    .openapi({ description: 'null: every database of the project, later ones too' }),
  role: Role,
  created_by: z.string().openapi({ description: 'service, key:<id> or user:<id>' }),
  expires_at: z.string().nullable(),
  last_used_at: z.string().nullable().openapi({ description: 'To the minute' }),
  created_at: z.string(),
}

const ApiKey = z.object(fields).openapi('ApiKey', { example: { ...example, database_ids: [...example.database_ids] } })

const NewApiKey = z
  .object({ ...fields, secret: z.string().openapi({ description: 'What the caller sends; shown this once' }) })
  .openapi('NewApiKey', {
    example: {
      ...example,
      database_ids: [...example.database_ids],
      secret: 'bak_k3v7q2mzn4xa_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8',
    },
  })

const maxDatabases = 1_000

const CreateApiKey = z
  .strictObject({
    name: text(200, 1),
    projectRef: ProjectRef,
    databaseIds: z
      .array(uuid)
      .min(1)
      .max(maxDatabases)
      .optional()
      .openapi({ description: 'Only these databases; all of the project unless given' }),
    role: Role,
    expiresAt: z.iso
      .datetime({ offset: true, error: 'must be a date and time with its offset (RFC 3339)' })
      .optional()
      .openapi({ description: 'In the future; never unless given' }),
  })
  .openapi('CreateApiKey', { example: { name: 'reporting', projectRef: 'default', role: 'read' } })

const list = contract({
  [scoped]: true,
  method: 'get',
  path: '/',
  operationId: 'ApiKeysController_list',
  tags: ['api-keys'],
  summary: 'List API keys',
  description:
    'Newest first, without their secrets. A scoped key sees those it could have made. The next page is in the Link header.',
  access: 'admin',
  operation: 'read',
  request: {
    query: z.object({
      projectRef: ProjectRef.optional().openapi({
        description: 'Only keys of this project',
        example: undefined,
        examples: ['default'],
      }),
      limit: pageSize,
      cursor: pageCursor(1000),
    }),
  },
  responses: { 200: json(z.array(ApiKey), 'A page of keys'), ...failures('VALIDATION_FAILED', 'FORBIDDEN') },
})

const create = contract({
  [scoped]: true,
  method: 'post',
  path: '/',
  operationId: 'ApiKeysController_create',
  tags: ['api-keys'],
  summary: 'Create an API key',
  description:
    'The secret is in this answer alone. Repeated with its Idempotency-Key the answer is 409: the secret is not kept.',
  access: 'admin',
  operation: 'write',
  answerKept: false,
  request: { body: body(CreateApiKey) },
  responses: {
    201: json(NewApiKey, 'The key with its secret'),
    ...failures(
      'VALIDATION_FAILED',
      'FORBIDDEN',
      'NOT_FOUND',
      'DB_NOT_FOUND',
      'PAYLOAD_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
    ),
  },
})

const revoke = contract({
  [scoped]: true,
  method: 'delete',
  path: '/{id}',
  operationId: 'ApiKeysController_revoke',
  tags: ['api-keys'],
  summary: 'Revoke an API key',
  description: 'Every instance refuses it within a second.',
  access: 'admin',
  operation: 'delete',
  request: {
    params: z.object({
      id: uuid.openapi({ param: { name: 'id', in: 'path' }, description: 'The id of the key', example: example.id }),
    }),
  },
  responses: { 204: { description: 'Revoked' }, ...failures('VALIDATION_FAILED', 'FORBIDDEN', 'NOT_FOUND') },
})

export const apiKeys = createRouter()
  .openapi(list, async (c) => {
    const { cursor, ...query } = c.req.valid('query')
    const { deps, principal } = c.env
    const rows = await deps.apiKeys.list(principal, {
      ...query,
      limit: query.limit + 1,
      after: readPosition(c, cursor),
    })
    const { page, headers } = pageOf(c, rows, query.limit)
    return reply(c, list, 200, page.map(shown), headers)
  })
  .openapi(create, async (c) => {
    const { databaseIds, expiresAt, ...wanted } = c.req.valid('json')
    const { deps, principal } = c.env
    const created = await deps.apiKeys.create(principal, {
      ...wanted,
      databaseIds: databaseIds === undefined ? null : [...new Set(databaseIds.map((id) => id.toLowerCase()))],
      expiresAt: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
    })
    return reply(c, create, 201, { ...shown(created), secret: created.secret })
  })
  .openapi(revoke, async (c) => {
    const { deps, principal } = c.env
    if (!(await deps.apiKeys.revoke(principal, c.req.valid('param').id)))
      throw new ApiError('NOT_FOUND', 'There is no API key with this id.')
    return c.body(null, 204)
  })

function shown(row: ApiKeyRow) {
  return { ...row, database_ids: row.database_ids && [...row.database_ids] }
}
