import { z } from '@hono/zod-openapi'
import { postgres } from '#src/engines/postgres/engine.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams, booleanQuery, commaList, wholeNumber } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'

const schemaNames = commaList(z.string().max(63)).optional()

const Column = z
  .object({
    table_id: z.number().int(),
    schema: z.string(),
    table: z.string(),
    id: z.string(),
    ordinal_position: z.number().int(),
    name: z.string(),
    default_value: z.string().nullable(),
    data_type: z.string(),
    format: z.string(),
    is_identity: z.boolean(),
    identity_generation: z.string().nullable(),
    is_generated: z.boolean(),
    is_nullable: z.boolean(),
    is_updatable: z.boolean(),
    is_unique: z.boolean(),
    enums: z.array(z.string()),
    check: z.string().nullable(),
    comment: z.string().nullable(),
  })
  .openapi('PostgresColumn')

const Table = z
  .object({
    id: z.number().int(),
    schema: z.string(),
    name: z.string(),
    rls_enabled: z.boolean(),
    rls_forced: z.boolean(),
    replica_identity: z.enum(['DEFAULT', 'INDEX', 'FULL', 'NOTHING']),
    bytes: z.number(),
    size: z.string(),
    live_rows_estimate: z.number(),
    dead_rows_estimate: z.number(),
    comment: z.string().nullable(),
    primary_keys: z.array(
      z.object({ schema: z.string(), table_name: z.string(), name: z.string(), table_id: z.number().int() }),
    ),
    relationships: z.array(
      z.object({
        id: z.number().int(),
        constraint_name: z.string(),
        source_schema: z.string(),
        source_table_name: z.string(),
        source_column_name: z.string(),
        target_table_schema: z.string(),
        target_table_name: z.string(),
        target_column_name: z.string(),
      }),
    ),
    columns: z.array(Column).optional(),
  })
  .openapi('PostgresTable')

const list = contract({
  method: 'get',
  path: '/{databaseId}/tables',
  operationId: 'PostgresTablesController_list',
  tags: ['postgres'],
  summary: 'List tables',
  description:
    "In postgres-meta's form, with columns, keys and relationships; only tables the role may use, in order of schema, name and id.",
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      included_schemas: schemaNames.openapi({
        type: 'string',
        description: 'Only these schemas, comma-joined',
        examples: ['public'],
      }),
      excluded_schemas: schemaNames.openapi({
        type: 'string',
        description: 'Not these schemas, comma-joined',
        examples: ['auth,storage'],
      }),
      include_system_schemas: booleanQuery.default(false).openapi({
        type: 'boolean',
        description: 'Also pg_catalog, information_schema and their like',
        default: false,
      }),
      include_columns: booleanQuery.default(true).openapi({
        type: 'boolean',
        description: 'Each table with its columns',
        default: true,
      }),
      limit: wholeNumber(1, 1000, 1000).openapi({ description: 'Tables at most' }),
      offset: wholeNumber(0, 1_000_000, 0).openapi({ description: 'Tables left out at the beginning' }),
    }),
  },
  responses: {
    200: json(z.array(Table), 'The tables'),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR'),
  },
})

export const tables = createRouter().openapi(list, async (c) => {
  const { databaseId } = c.req.valid('param')
  const query = c.req.valid('query')
  c.env.databaseId = databaseId
  const { call } = c.env
  const filter = {
    includedSchemas: query.included_schemas,
    excludedSchemas: query.excluded_schemas,
    includeSystemSchemas: query.include_system_schemas,
    includeColumns: query.include_columns,
    limit: query.limit,
    offset: query.offset,
  }
  const found = await c.env.deps.read(postgres, databaseId, call, (session) => session.tables(filter, call))
  return reply(c, list, 200, found as never)
})
