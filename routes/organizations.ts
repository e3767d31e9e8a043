import { visibleTo } from '#src/access/authorize.ts'
import { z } from '@hono/zod-openapi'
import { body, contract, failures, json, scoped } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { text } from '#src/http/fields.ts'
import { pageOf, readPosition } from '#src/http/paging.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor, pageSize } from './parameters.ts'

export const Slug = text(64, 1)
  .regex(/^[a-z0-9-]+$/, { error: 'must match ^[a-z0-9-]+$' })
  .openapi({ example: 'acme' })

const Organization = z
  .object({
    id: z.uuid(),
    name: z.string(),
    slug: z.string(),
    billing_email: z.string().nullable(),
    created_at: z.string(),
    updated_at: z.string(),
  })
  .openapi('Organization', {
    example: {
      id: 'c0a8f1de-5b7e-4c7d-8f53-6a1f0d3b9e02',
      name: 'Acme',
      slug: 'acme',
      billing_email: null,
      created_at: '2026-11-20T09:30:00.123456Z',
      updated_at: '2026-11-20T09:30:00.123456Z',
    },
  })

const list = contract({
  [scoped]: true,
  method: 'get',
  path: '/',
  operationId: 'OrganizationsController_list',
  tags: ['organizations'],
  summary: 'List organizations',
  description: 'Newest first. The next page is in the Link header.',
  access: 'read',
  operation: 'read',
  request: { query: z.object({ limit: pageSize, cursor: pageCursor(1000) }) },
  responses: { 200: json(z.array(Organization), 'A page of organizations'), ...failures('VALIDATION_FAILED') },
})

const create = contract({
  method: 'post',
  path: '/',
  operationId: 'OrganizationsController_create',
  tags: ['organizations'],
  summary: 'Create an organization',
  description: 'The slug is unique and does not change.',
  access: 'admin',
  operation: 'write',
  request: {
    body: body(
      z
        .strictObject({ name: text(200, 1), slug: Slug, billingEmail: z.email().max(320).nullish() })
        .openapi('CreateOrganization', { example: { name: 'Acme', slug: 'acme' } }),
    ),
  },
  responses: {
    201: json(Organization, 'The organization'),
    ...failures('VALIDATION_FAILED', 'CONFLICT', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'),
  },
})

export const organizations = createRouter()
  .openapi(list, async (c) => {
    const query = c.req.valid('query')
    const rows = await c.env.deps.projects.listOrganizations({
      visible: await visibleTo(c.env),
      limit: query.limit + 1,
      after: readPosition(c, query.cursor),
    })
    const { page, headers } = pageOf(c, rows, query.limit)
    return reply(c, list, 200, page, headers)
  })
  .openapi(create, async (c) => {
    const { name, slug, billingEmail } = c.req.valid('json')
    return reply(
      c,
      create,
      201,
      await c.env.deps.projects.createOrganization({ name, slug, billingEmail: billingEmail ?? null }),
    )
  })
