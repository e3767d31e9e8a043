import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { readCursor, signCursor } from '#src/credentials/signed.ts'
import type { Change, Matching } from '#src/engines/redis/keyspace/bulk.ts'
import { redis } from '#src/engines/redis/engine.ts'
import type { RedisStore } from '#src/engines/redis/store.ts'
import { type Progress, runBatches } from '#src/engines/redis/keyspace/scan-run.ts'
import { namesNothing } from '#src/engines/redis/keyspace/scan-pattern.ts'
import { toBytes } from '#src/engines/redis/values.ts'
import { body, contract, failures } from '#src/http/contract.ts'
import type { Env } from '#src/http/env.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams, text } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { replyEvents } from '#src/http/stream.ts'
import { maxPatternBytes, TypeName } from './keys.ts'
import { DatabaseNumber, DatabaseSize, RedisValue } from './schemas.ts'
import { writeCodes } from './set-schemas.ts'

const maxKeys = 1_000

const which = {
  keys: z.array(RedisValue).min(1).max(maxKeys).optional().openapi({ description: 'These keys, at most 1,000' }),
  pattern: RedisValue.refine((value) => toBytes(value).length > 0 && toBytes(value).length <= maxPatternBytes, {
    error: `must be 1 to ${maxPatternBytes} bytes`,
  })
    .optional()
    .openapi({ description: 'Keys that match this glob, at most 256 bytes', example: 'session:*' }),
  type: TypeName.openapi({ description: 'With pattern: only keys of this type' }),
  dryRun: z.boolean().optional().openapi({ description: 'With pattern: counts, and changes nothing' }),
  cursor: text(1000, 1).optional().openapi({ description: 'With dryRun: goes on behind what one before looked at' }),
  confirm: z.boolean().optional().openapi({ description: 'Must be true for a pattern that names nothing, such as *' }),
} as const

type Value = z.output<typeof RedisValue>

interface Which {
  readonly keys?: readonly Value[] | undefined
  readonly pattern?: Value | undefined
  readonly type?: string | undefined
  readonly dryRun?: boolean | undefined
  readonly cursor?: string | undefined
  readonly confirm?: boolean | undefined
}

function checkWhich({ keys, pattern, type, dryRun, cursor, confirm }: Which, context: z.RefinementCtx): void {
  const refuse = (field: string, message: string) => context.addIssue({ code: 'custom', path: [field], message })
  if ((keys === undefined) === (pattern === undefined)) refuse('keys', 'give either keys or pattern')
  if (keys !== undefined && type !== undefined) refuse('type', 'goes with pattern')
  if (keys !== undefined && dryRun !== undefined) refuse('dryRun', 'goes with pattern')
  if (cursor !== undefined && dryRun !== true) refuse('cursor', 'goes with dryRun')
  if (pattern !== undefined && dryRun !== true && confirm !== true && namesNothing(toBytes(pattern)))
    refuse('confirm', 'must be true for a pattern that names nothing')
}

const preview = z
  .object({
    count: z.number().openapi({ description: 'Keys that match, of those looked at' }),
    sample: z.array(RedisValue).readonly().openapi({ description: 'The first 20 that were met' }),
    scanned: z.number().openapi({ description: 'Keys looked at, about' }),
    db_size: DatabaseSize,
    complete: z.boolean().openapi({ description: 'false: 100,000 keys or 250 ms were over before the end' }),
    next_cursor: z.string().nullable().openapi({
      description:
        'Where a next dry run goes on; its count is of further keys, but for the few that SCAN may meet twice',
    }),
  })
  .openapi('RedisKeysPreview', {
    example: { count: 1, sample: ['session:1'], scanned: 1200, db_size: 1200, complete: true, next_cursor: null },
  })

/** JSON for keys and dry runs, server-sent events for a pattern. */
function answers<T extends z.ZodType>(schema: T, counted: string) {
  return {
    200: {
      description: `JSON for keys and for a dry run. Else server-sent events: \`progress\` with scanned, db_size (null: the user may not DBSIZE), ${counted} and ms several times a second, and \`done\` with the same at the end; an \`error\` event has the one error shape, and is the last.`,
      content: {
        'application/json': { schema: z.union([schema, preview]) },
        'text/event-stream': { schema: z.string() },
      },
    },
    ...failures(...writeCodes),
  } as const
}

const byPattern =
  'With a pattern it walks by SCAN in small batches with rests between them, and answers with server-sent events; it stops within a batch when the caller leaves. Try dryRun first.'

const remove = contract({
  method: 'post',
  path: '/{databaseId}/keys/delete',
  operationId: 'RedisKeysController_delete',
  tags: ['redis'],
  summary: 'Delete many keys',
  description: `By UNLINK, keys of any type. ${byPattern}`,
  access: 'write',
  operation: 'delete',
  answerKept: false,
  request: {
    params: DatabaseIdParams,
    query: z.object({ db: DatabaseNumber }),
    body: body(
      z
        .strictObject(which)
        .superRefine(checkWhich)
        .openapi('DeleteRedisKeys', { example: { pattern: 'session:*', dryRun: true } }),
    ),
  },
  responses: answers(
    z
      .object({ deleted: z.number(), absent: z.number() })
      .openapi('RedisKeysDeleted', { example: { deleted: 2, absent: 1 } }),
    'deleted',
  ),
})

const expire = contract({
  method: 'post',
  path: '/{databaseId}/keys/ttl',
  operationId: 'RedisKeysController_expire',
  tags: ['redis'],
  summary: 'Set or remove the TTL of many keys',
  description: `Every key expires ttlMs from the moment its turn comes, or never with persist. ${byPattern}`,
  access: 'write',
  operation: 'write',
  answerKept: false,
  request: {
    params: DatabaseIdParams,
    query: z.object({ db: DatabaseNumber }),
    body: body(
      z
        .strictObject({
          ...which,
          ttlMs: z.int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
          persist: z.literal(true).optional().openapi({ description: 'Removes the TTL' }),
        })
        .superRefine(checkWhich)
        .refine(({ ttlMs, persist }) => (ttlMs === undefined) !== (persist === undefined), {
          error: 'give either ttlMs or persist',
          path: ['ttlMs'],
        })
        .openapi('ExpireRedisKeys', { example: { pattern: 'session:*', ttlMs: 60000, dryRun: true } }),
    ),
  },
  responses: answers(
    z
      .object({
        changed: z.number(),
        unchanged: z.number().openapi({ description: 'Keys to persist that had no TTL' }),
        absent: z.number(),
      })
      .openapi('RedisKeysExpired', { example: { changed: 2, unchanged: 0, absent: 1 } }),
    'changed',
  ),
})

export const bulk = createRouter()
  .openapi(remove, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const request = c.req.valid('json')
    c.env.databaseId = databaseId
    const { call, deps } = c.env
    const change = { kind: 'delete' } as const
    if (request.pattern !== undefined && request.dryRun !== true)
      return changeMatching(c, databaseId, db, { ...request, pattern: request.pattern }, change, 'deleted')
    using session = await deps.open(redis, databaseId, call)
    return session.in(db, call, async (store) => {
      if (request.pattern !== undefined)
        return reply(c, remove, 200, await previewOf(c, store, db, { ...request, pattern: request.pattern }))
      const { changed, absent } = await store.bulk.change(request.keys ?? [], change, call)
      return reply(c, remove, 200, { deleted: changed, absent })
    })
  })
  .openapi(expire, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const { ttlMs, ...request } = c.req.valid('json')
    c.env.databaseId = databaseId
    const { call, deps } = c.env
    const change: Change = ttlMs === undefined ? { kind: 'persist' } : { kind: 'expire', ttlMs }
    if (request.pattern !== undefined && request.dryRun !== true)
      return changeMatching(c, databaseId, db, { ...request, pattern: request.pattern }, change, 'changed')
    using session = await deps.open(redis, databaseId, call)
    return session.in(db, call, async (store) => {
      if (request.pattern !== undefined)
        return reply(c, expire, 200, await previewOf(c, store, db, { ...request, pattern: request.pattern }))
      return reply(c, expire, 200, await store.bulk.change(request.keys ?? [], change, call))
    })
  })

async function previewOf(
  { env }: Context<Env>,
  { bulk }: RedisStore,
  db: number | undefined,
  { cursor: given, ...matching }: Matching & Pick<Which, 'cursor'>,
) {
  const { keyring } = env.deps
  // A cursor means nothing under another pattern or type, or in another database.
  const { pattern, type = null } = matching
  const scope = JSON.stringify(['redis-bulk', env.databaseId, db ?? null, pattern, type])
  const from = given === undefined ? '0' : String(readCursor(keyring, scope, given)[0])
  const { cursor, ...found } = await bulk.preview(matching, from, env)
  const next_cursor = cursor === null ? null : signCursor(keyring, scope, [cursor])
  return { ...found, complete: cursor === null, next_cursor }
}

function changeMatching(
  c: Context<Env>,
  databaseId: string,
  db: number | undefined,
  matching: Matching,
  change: Change,
  counted: 'deleted' | 'changed',
): Promise<never> {
  return replyEvents(c, redis, databaseId, async function* changing(session, call) {
    const dbSize = await session.in(db, call, ({ bulk }) => bulk.begin(change, call))
    // Each batch borrows its connection anew, and rests without one.
    const batch = (cursor: string) => session.in(db, call, ({ bulk }) => bulk.batch(matching, change, cursor, call))
    for await (const progress of runBatches(batch, dbSize, call)) yield eventOf(progress, counted)
  })
}

function eventOf({ done, scanned, db_size, changed, ms }: Progress, counted: 'deleted' | 'changed') {
  return { event: done ? 'done' : 'progress', data: { scanned, db_size, [counted]: changed, ms } }
}
