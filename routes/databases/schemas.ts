import { z } from '@hono/zod-openapi'
import { engineKinds } from '#src/engines/index.ts'
import { stages } from '#src/engines/engine.ts'
import { databaseStatuses } from '#src/registry/database.ts'
import { text, uuid } from '#src/http/fields.ts'

const id = '3f8b6c1e-6d0a-4a57-9b0e-0d6f0c9a7c11'

export const DatabaseName = text(63, 1)
  .regex(/^[a-z0-9-]+$/, { error: 'must match ^[a-z0-9-]+$' })
  .openapi({ example: 'redis-cache' })

export const ProjectRef = text(64, 1)
  .regex(/^[A-Za-z0-9_-]+$/, { error: 'must match ^[A-Za-z0-9_-]+$' })
  .openapi({ example: 'default' })

export const DatabaseType = z
  .enum(engineKinds, { error: `must be one of ${engineKinds.join(', ')}` })
  .openapi('DatabaseType')
export const DatabaseStatus = z
  .enum(databaseStatuses, { error: `must be one of ${databaseStatuses.join(', ')}` })
  .openapi('DatabaseStatus')

export const DatabaseParams = z.object({
  id: uuid.openapi({ param: { name: 'id', in: 'path' }, description: 'As its registration answered it', example: id }),
})

export const IfMatch = z.object({
  'if-match': z
    .string()
    .optional()
    .openapi({ description: 'The ETag the change is meant for; 412 when it is stale', examples: ['"1"'] }),
})

// Taken as it is and checked by the engine: zod's records would drop a key "__proto__" without a word.
const Config = z
  .custom<Readonly<Record<string, unknown>>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    { error: 'must be an object' },
  )
  .openapi({
    type: 'object',
    additionalProperties: {},
    description:
      'Keys the engine takes; Redis: databases, maxmemory, maxmemory_policy, caCertificate, readOnly, allowScripts; PostgreSQL: caCertificate, readOnly',
    example: { databases: 16 },
  })

const connection = {
  connectionString: text(4096, 1).optional().openapi({ example: 'redis://default:password@127.0.0.1:6379/0' }),
  host: text(253, 1).optional(),
  port: z.int().min(1).max(65_535).optional(),
  databaseName: text(63).optional(),
  username: text(256).optional(),
  password: text(1024).optional(),
  tls: z
    .union([z.boolean(), z.enum(['require', 'verify-ca', 'verify-full'])], {
      error: 'must be true, false, "require", "verify-ca" or "verify-full"',
    })
    .optional(),
}

export const CreateDatabase = z
  .strictObject({
    projectRef: ProjectRef,
    name: DatabaseName,
    type: DatabaseType,
    description: text(1000).nullish(),
    config: Config.optional(),
    ...connection,
  })
  .openapi('CreateDatabase', {
    example: {
      projectRef: 'default',
      name: 'redis-cache',
      type: 'redis',
      connectionString: 'redis://default:password@127.0.0.1:6379/0',
    },
  })

export const UpdateDatabase = z
  .strictObject({
    name: DatabaseName.optional(),
    description: text(1000).nullish(),
    config: Config.optional(),
    ...connection,
  })
  .refine((value) => Object.keys(value).length > 0, { error: 'must change at least one field' })
  .openapi('UpdateDatabase', { example: { description: 'Primary cache' } })

export const TestDatabase = z
  .strictObject({ type: DatabaseType, config: Config.optional(), ...connection })
  .openapi('TestDatabase', {
    example: { type: 'redis', connectionString: 'redis://default:password@127.0.0.1:6379/0' },
  })

const databaseExample = {
  id,
  project_id: '7d1f5a40-9f0c-4f6b-8d0e-2c6b1a3e4f55',
  name: 'redis-cache',
  type: 'redis',
  description: 'Primary cache',
  connection_string: 'redis://default:****@127.0.0.1:6379/0',
  has_credentials: true,
  host: '127.0.0.1',
  port: 6379,
  database_name: '0',
  username: 'default',
  config: {},
  status: 'active',
  last_connected_at: '2026-11-20T09:30:00.123456Z',
  created_at: '2026-11-20T09:30:00.123456Z',
  updated_at: '2026-11-20T09:30:00.123456Z',
  version: 1,
  project_name: 'Default',
  project_ref: 'default',
  organization_name: 'Default',
  organization_slug: 'default',
}

const timestamp = z.string().openapi({ format: 'date-time', example: '2026-11-20T09:30:00.123456Z' })

export const Database = z
  .object({
    id: z.uuid(),
    project_id: z.uuid(),
    name: z.string(),
    type: z.string(),
    description: z.string().nullable(),
    connection_string: z
      .string()
      .openapi({ description: 'Masked; never the password', example: 'redis://default:****@127.0.0.1:6379/0' }),
    has_credentials: z.boolean(),
    host: z.string().nullable(),
    port: z.number().int().nullable(),
    database_name: z.string().nullable(),
    username: z.string().nullable(),
    config: z.record(z.string(), z.unknown()),
    status: z.string(),
    last_connected_at: timestamp.nullable(),
    created_at: timestamp,
    updated_at: timestamp,
    version: z.number().int(),
    project_name: z.string(),
    project_ref: z.string(),
    organization_name: z.string().nullable(),
    organization_slug: z.string().nullable(),
  })
  .openapi('Database', { example: databaseExample })

export const ChangedDatabase = Database.extend({
  warnings: z.array(z.string()).openapi({ description: 'What was ignored or is weak' }),
}).openapi('ChangedDatabase', { example: { ...databaseExample, warnings: ['The connection is not encrypted.'] } })

export const ProbeReport = z
  .object({
    ok: z.boolean(),
    latency_ms: z.number(),
    server: z.object({ product: z.string(), version: z.string() }).nullable(),
    stages: z.array(z.object({ name: z.enum(stages), ok: z.boolean(), ms: z.number() })),
    warnings: z.array(z.string()),
    error: z
      .object({ code: z.string(), message: z.string(), retryable: z.boolean(), details: z.unknown().optional() })
      .optional(),
  })
  .openapi('ProbeReport', {
    example: {
      ok: true,
      latency_ms: 3.1,
      server: { product: 'redis', version: '7.0.15' },
      stages: [
        { name: 'dns', ok: true, ms: 0.2 },
        { name: 'tcp', ok: true, ms: 0.6 },
        { name: 'auth', ok: true, ms: 1.1 },
      ],
      warnings: [],
    },
  })

export const ServerInfo = z
  .object({
    product: z.string(),
    version: z.string(),
    uptime_seconds: z.number().nullable(),
    size_bytes: z.number().nullable(),
    role: z.string().nullable(),
    engine: z.record(z.string(), z.unknown()).openapi({ description: "The engine's own block" }),
    warnings: z.array(z.string()),
  })
  .openapi('ServerInfo', {
    example: {
      product: 'redis',
      version: '7.0.15',
      uptime_seconds: 86400,
      size_bytes: 1048576,
      role: 'master',
      engine: { databases: 16 },
      warnings: [],
    },
  })
