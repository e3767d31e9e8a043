import { z } from '@hono/zod-openapi'
import { callWithin } from '#src/engines/engine.ts'
import { postgres } from '#src/engines/postgres/engine.ts'
import { body, contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { allowTime } from '#src/http/limits.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import type { RequestState } from '#src/http/request-state.ts'
import { createRouter } from '#src/http/router.ts'

const maxParameters = 1024
// Not checked again on its way out: a record's schema would drop a column named __proto__.
const QueryRow = z.unknown().openapi({
  anyOf: [
    { type: 'array', items: {} },
    { type: 'object', additionalProperties: {} },
  ],
})

const query = contract({
  method: 'post',
  path: '/{databaseId}/query',
  operationId: 'PostgresQueryController_run',
  tags: ['postgres'],
  summary: 'Run one SQL statement',
  description:
    'With bound parameters, in a transaction of its own that is read-only unless readOnly is false; read-only are SELECT, VALUES, TABLE, WITH, EXPLAIN and SHOW. int8, numeric and money are strings, dates and times PostgreSQL text, bytea \\x….',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    body: body(
      z
        .strictObject({
          query: z.string().min(1).max(1_000_000),
          parameters: z
            .array(
              z.union([
                z.string(),
                z.number(),
                z.boolean(),
                z.null(),
                z.array(z.unknown()),
                z.record(z.string(), z.unknown()),
              ]),
            )
            .max(maxParameters)
            .default([]),
          readOnly: z.boolean().default(true),
          maxRows: z.int().min(1).max(1000).default(1000),
          rowMode: z.enum(['object', 'array'], { error: 'must be object or array' }).default('object'),
          timeoutMs: z.int().min(100).optional(),
        })
        .openapi('PostgresQuery', { example: { query: 'select $1::int as answer', parameters: [42] } }),
    ),
  },
  responses: {
    200: json(
      z
        .object({
          columns: z.array(z.object({ name: z.string(), type: z.string(), type_id: z.number().int() })),
          rows: z.array(QueryRow),
          row_count: z.number().int(),
          command: z.string(),
          truncated: z.boolean().openapi({ description: 'true when there were more than maxRows rows' }),
        })
        .openapi('PostgresResult', {
          example: {
            columns: [{ name: 'answer', type: 'int4', type_id: 23 }],
            rows: [{ answer: 42 }],
            row_count: 1,
            command: 'SELECT',
            truncated: false,
          },
        }),
      'The result',
    ),
    ...failures(
      ...databaseFailures,
      'DB_QUERY_ERROR',
      'DB_READ_ONLY',
      'DB_CONFLICT',
      'DB_NOT_PRIMARY',
      'PAYLOAD_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
    ),
  },
})

export const queries = createRouter().openapi(query, async (c) => {
  const { databaseId } = c.req.valid('param')
  const { timeoutMs, ...request } = c.req.valid('json')
  c.env.databaseId = databaseId
  const allowedMs = allowTime(c.env, timeoutMs)
  if (!request.readOnly) await countAsWrite(c.env)
  using call = callWithin(allowedMs, c.req.raw, c.env.readOnly)
  call.stale = (seconds) => c.env.stale(seconds)
  using session = await c.env.deps.open(postgres, databaseId, call, c.env)
  const result = await session.query(request, call)
  return reply(c, query, 200, { ...result, columns: [...result.columns], rows: [...result.rows] as never })
})

/** What a body asks for that may write: as every write, it has its own budget and does not rest on what may be old. */
async function countAsWrite(state: RequestState): Promise<void> {
  state.declaration = { access: 'write', operation: 'write' }
  state.refuseStaleChange()
  // A refusal has headers of its own.
  state.rateHeaders = undefined
  state.rateHeaders = await state.deps.limits.check(state.principal, state.declaration)
}
