import { z } from '@hono/zod-openapi'
import { exportKeys } from '#src/engines/redis/moving/export.ts'
import { importLines } from '#src/engines/redis/moving/import.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { ApiError } from '#src/errors.ts'
import { contract, databaseFailures, failures, lines, streamedBody } from '#src/http/contract.ts'
import { booleanQuery, DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { replyLines } from '#src/http/stream.ts'
import { DatabaseNumber } from './schemas.ts'
import { writeCodes } from './set-schemas.ts'

const maxPatternBytes = 256
const ndjson = 'application/x-ndjson'

const exporting = contract({
  method: 'get',
  path: '/{databaseId}/export',
  operationId: 'RedisMovingController_export',
  tags: ['redis'],
  summary: 'Export keys',
  description:
    'One JSON line a key, large ones several, in about the order of SCAN; a key that can not be read is a line with an error, and the last line is { end: { keys, failed } }. No snapshot: what is written meanwhile may be in it or not.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      pattern: z
        .string()
        .min(1)
        .refine((value) => Buffer.byteLength(value) <= maxPatternBytes, {
          error: `must be at most ${maxPatternBytes} bytes`,
        })
        .default('*')
        .openapi({ description: 'Glob, at most 256 bytes', examples: ['session:*'] }),
      type: z
        .string()
        .regex(/^[A-Za-z0-9_-]{1,32}$/, { error: 'must be the name of a Redis type' })
        .optional()
        .openapi({ description: 'Only keys of this type', examples: ['string'] }),
      form: z
        .enum(['typed', 'dump'], { error: 'must be typed or dump' })
        .default('typed')
        .openapi({ description: 'dump is what DUMP says: every type, for servers of this version and newer' }),
      db: DatabaseNumber,
    }),
  },
  responses: {
    200: lines('{ key, type, expires_at_ms, part?, value | elements | members | fields | entries | dump }, one a line'),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

const importing = contract({
  method: 'post',
  path: '/{databaseId}/import',
  operationId: 'RedisMovingController_import',
  tags: ['redis'],
  summary: 'Import keys',
  description:
    'Takes what export answers, in both forms, of up to MAX_IMPORT_BYTES and 16 MiB a line. A line that fails is told and the others are written. Answers the counts as the last line, and those so far every five seconds before it.',
  access: 'write',
  operation: 'write',
  answerKept: false,
  [streamedBody]: true,
  request: {
    params: DatabaseIdParams,
    query: z.object({
      onConflict: z
        .enum(['replace', 'skip', 'fail'], { error: 'must be replace, skip or fail' })
        .default('fail')
        .openapi({ description: 'What becomes of a key that is there already' }),
      stopOnError: booleanQuery
        .default(false)
        .openapi({ type: 'boolean', description: 'Ends at the first line that fails', default: false }),
      db: DatabaseNumber,
    }),
    body: {
      required: true,
      content: {
        [ndjson]: {
          schema: z
            .string()
            .openapi({ example: '{"key":"greeting","type":"string","expires_at_ms":null,"value":"hello"}\n' }),
        },
      },
    },
  },
  responses: {
    200: lines('{ read, written, skipped, failed, keys, stopped, errors: [{ line, code, message }] }'),
    ...failures(...writeCodes),
  },
})

export const moving = createRouter()
  .openapi(exporting, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { db, ...request } = c.req.valid('query')
    c.env.databaseId = databaseId
    return replyLines(c, redis, databaseId, (session, call) => exportKeys(() => session.apart(db, call), request, call))
  })
  .openapi(importing, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { db, onConflict, stopOnError: stopsAtFailure } = c.req.valid('query')
    if (c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase() !== ndjson)
      throw new ApiError('UNSUPPORTED_MEDIA_TYPE', `Send the body as Content-Type: ${ndjson}.`)
    const { MAX_IMPORT_BYTES: maxBytes } = c.env.deps.config
    c.env.databaseId = databaseId
    const { body } = c.req.raw
    return replyLines(c, redis, databaseId, async function* summaries(session, call) {
      await using apart = await session.apart(db, call)
      yield* importLines(apart, body ?? [], { onConflict, stopsAtFailure, maxBytes }, call)
    })
  })
