import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import type { KeyChange } from '#src/engines/redis/keyspace/lifecycle.ts'
import { body, contract, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { DatabaseNumber, RedisValue } from './schemas.ts'
import { writeCodes } from './set-schemas.ts'

const kinds = ['ttlMs', 'expireAt', 'persist', 'rename', 'copy'] as const

const ChangeKey = z
  .strictObject({
    key: RedisValue,
    ttlMs: z.int().min(1).max(Number.MAX_SAFE_INTEGER).optional().openapi({ description: 'Expires so long from now' }),
    expireAt: z.iso
      .datetime({ offset: true, error: 'must be a time like 2030-01-01T00:00:00Z' })
      .refine((time) => Date.parse(time) > Date.now(), { error: 'must not have passed' })
      .optional(),
    condition: z.enum(['nx', 'xx', 'gt', 'lt']).optional().openapi({
      description: 'With ttlMs or expireAt: only without a TTL, only with one, only to later, only to earlier. Redis 7',
    }),
    persist: z.literal(true).optional().openapi({ description: 'Never expires' }),
    rename: z
      .strictObject({ to: RedisValue, overwrite: z.boolean().default(false) })
      .optional()
      .openapi({ description: '409 where there is a key of that name, unless overwrite is set' }),
    copy: z
      .strictObject({
        to: RedisValue,
        db: z.int().min(0).max(9_999).optional(),
        replace: z.boolean().default(false),
      })
      .optional()
      .openapi({
        description: 'Into the logical database db, if given; 409 where there is such a key, unless replace is set',
      }),
  })
  .superRefine((value, context) => {
    const given = kinds.filter((name) => value[name] !== undefined)
    const rule = `exactly one of ${kinds.join(', ')} must be given`
    if (given.length !== 1) context.addIssue({ code: 'custom', message: rule, path: [given[1] ?? 'ttlMs'] })
    if (value.condition !== undefined && value.ttlMs === undefined && value.expireAt === undefined)
      context.addIssue({ code: 'custom', message: 'needs ttlMs or expireAt', path: ['condition'] })
  })
  .openapi('ChangeRedisKey', { example: { key: 'greeting', ttlMs: 60000 } })

const update = contract({
  method: 'patch',
  path: '/{databaseId}/key',
  operationId: 'RedisKeyController_update',
  tags: ['redis'],
  summary: 'Expire, persist, rename or copy a key',
  description:
    'One change at a time, of a key of any type; its value stays as it is. Renaming and copying replace nothing unless told to.',
  access: 'write',
  operation: 'write',
  request: { params: DatabaseIdParams, query: z.object({ db: DatabaseNumber }), body: body(ChangeKey) },
  responses: {
    200: json(
      z
        .object({
          key: RedisValue,
          change: z.enum(['expire', 'persist', 'rename', 'copy']),
          changed: z
            .boolean()
            .openapi({ description: 'false when the condition forbade it, or it had no TTL to drop' }),
          to: RedisValue.optional(),
          ttl_ms: z.number().nullable().openapi({ description: 'What is left now; null: never expires' }),
        })
        .openapi('RedisKeyChanged', {
          example: { key: 'greeting', change: 'expire', changed: true, ttl_ms: 60000 },
        }),
      'What happened',
    ),
    ...failures(...writeCodes, 'NOT_FOUND', 'DB_CONFLICT'),
  },
})

export const lifecycle = createRouter().openapi(update, async (c) => {
  const { databaseId } = c.req.valid('param')
  const { db } = c.req.valid('query')
  const { key, ...request } = c.req.valid('json')
  c.env.databaseId = databaseId
  const { call } = c.env
  const change = changeOf(request)
  using session = await c.env.deps.open(redis, databaseId, call)
  // Its number is checked as that of a database which is asked for.
  if (request.copy?.db !== undefined) await session.in(request.copy.db, call, async () => undefined)
  const done = await session.in(db, call, ({ lifecycle: keys }) => keys.change(key, change, call))
  const to = request.rename?.to ?? request.copy?.to
  const [kind = 'expire'] = Object.keys(change) as (keyof UnionOf<KeyChange>)[]
  return reply(c, update, 200, { key, change: kind, ...(to === undefined ? {} : { to }), ...done })
})

type UnionOf<T> = T extends unknown ? { [K in keyof T]: T[K] } : never

function changeOf({
  ttlMs,
  expireAt,
  condition,
  persist,
  rename,
  copy,
}: Omit<z.infer<typeof ChangeKey>, 'key'>): KeyChange {
  if (persist) return { persist }
  if (rename) return { rename }
  if (copy) return { copy: { to: copy.to, database: copy.db, replace: copy.replace } }
  return { expire: { ttlMs, at: expireAt === undefined ? undefined : Date.parse(expireAt), condition } }
}
