import { z } from '@hono/zod-openapi'
import { type Principal, roles } from '#src/access/principal.ts'
import { maxUserIdLength, userIdOf } from '#src/access/user-id.ts'
import { ApiError } from '#src/errors.ts'
import { text, uuid } from '#src/http/fields.ts'
import { pageCursor, pageSize } from './parameters.ts'

const user = 'b7c2f3d4-1a5e-4c6b-9d8f-0e1a2b3c4d5e'

/** A user who can be granted a single database: that table's ids are UUIDs. */
export const UserUuid = uuid.transform(userIdOf).openapi({
  param: { name: 'userId', in: 'path' },
  type: 'string',
  format: 'uuid',
  description: "The `sub` of the user's tokens",
  example: user,
})

export const UserId = text(maxUserIdLength, 1)
  .transform(userIdOf)
  .openapi({
    param: { name: 'userId', in: 'path' },
    type: 'string',
    description: "The `sub` of the user's tokens",
    example: user,
  })

export const GrantsQuery = z.object({ limit: pageSize, cursor: pageCursor(1000) })

export const SetGrant = z
  .strictObject({ role: z.enum(roles, { error: `must be one of ${roles.join(', ')}` }) })
  .openapi('SetGrant', { example: { role: 'write' } })

const timestamp = z.string().openapi({ format: 'date-time' })
const shared = {
  user_id: z.string(),
  role: z.enum(roles),
  granted_by: z
    .string()
    .nullable()
    .openapi({ description: '`service`, or `key:` or `user:` and its id; null where another program wrote it' }),
  created_at: timestamp,
  updated_at: timestamp,
}
const example = {
  user_id: user,
  role: 'write',
  granted_by: 'service',
  created_at: '2026-11-20T09:30:00.123456Z',
  updated_at: '2026-11-20T09:30:00.123456Z',
} as const

export const DatabaseGrant = z.object({ id: z.uuid(), database_id: z.uuid(), ...shared }).openapi('DatabaseGrant', {
  example: {
    id: '51c9d8e2-7f30-4b6a-8c1d-2e3f4a5b6c7d',
    database_id: '3f8b6c1e-6d0a-4a57-9b0e-0d6f0c9a7c11',
    ...example,
  },
})

export const ProjectGrant = z
  .object({ id: z.uuid(), project_id: z.uuid(), project_ref: z.string(), ...shared })
  .openapi('ProjectGrant', {
    example: {
      id: '62dae9f3-8041-4c7b-9d2e-3f405b6c7d8e',
      project_id: '7d1f5a40-9f0c-4f6b-8d0e-2c6b1a3e4f55',
      project_ref: 'default',
      ...example,
    },
  })

/** How a grant names who gave it. */
export function grantedBy({ kind, id }: Principal): string {
  return kind === id ? kind : `${kind}:${id}`
}

export function noSuchGrant(): ApiError {
  return new ApiError('NOT_FOUND', 'This user has no grant here.')
}
