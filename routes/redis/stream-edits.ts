import { z } from '@hono/zod-openapi'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { writeContract } from './contracts.ts'
import { RedisValue } from './schemas.ts'
import { writing } from './set-schemas.ts'
import { EntryIds, TrimBody, TrimOnAdd } from './stream-schemas.ts'

const maxFields = 500

const add = writeContract({
  path: '/{databaseId}/streams',
  operationId: 'RedisStreamsController_add',
  summary: 'Add an entry to a stream',
  description:
    'The server gives the id unless one is given, which has to be above the last: else DB_CONFLICT. Makes the stream where there is none, unless noMkStream is set.',
  operation: 'write',
  body: z
    .strictObject({
      key: RedisValue,
      id: z
        .string()
        .regex(/^(\*|\d{1,20}(-(\d{1,20}|\*))?)$/, { error: 'must be *, or an id: 1700000000000-0' })
        .default('*')
        .openapi({ description: '`*` is the server’s own; `1700000000000-*` only its sequence number (Redis 7)' }),
      fields: z
        .array(z.strictObject({ field: RedisValue, value: RedisValue }))
        .min(1)
        .max(maxFields),
      noMkStream: z.boolean().optional(),
      trim: TrimOnAdd.optional().openapi({ description: 'Shortens the stream at the same time' }),
    })
    .openapi('RedisStreamAdd', {
      example: { key: 'events', id: '*', fields: [{ field: 'kind', value: 'signup' }], trim: { maxLength: 1000 } },
    }),
  answer: z
    .object({
      key: RedisValue,
      id: z.string().nullable().openapi({ description: 'null where noMkStream forbade it' }),
    })
    .openapi('RedisStreamAdded', { example: { key: 'events', id: '1700000000000-0' } }),
  answered: 'The id of the entry',
})

const Removed = z
  .object({ key: RedisValue, removed: z.number() })
  .openapi('RedisStreamRemoved', { example: { key: 'events', removed: 1 } })

const trim = writeContract({
  path: '/{databaseId}/streams/trim',
  operationId: 'RedisStreamsController_trim',
  summary: 'Shorten a stream',
  description: 'From the oldest entry on; approximately, and never too much, unless exact is set.',
  operation: 'delete',
  body: TrimBody,
  answer: Removed,
  answered: 'How many entries were removed',
})

const remove = writeContract({
  path: '/{databaseId}/streams/delete',
  operationId: 'RedisStreamsController_remove',
  summary: 'Delete entries of a stream',
  description: 'The stream stays, and so do its groups.',
  operation: 'delete',
  body: z
    .strictObject({ key: RedisValue, ids: EntryIds })
    .openapi('RedisStreamDelete', { example: { key: 'events', ids: ['1700000000000-0'] } }),
  answer: Removed,
  answered: 'How many entries were removed',
})

export const streamEdits = createRouter()
  .openapi(add, async (c) => {
    const { databaseId } = c.req.valid('param')
    const entry = c.req.valid('json')
    const { db } = c.req.valid('query')
    const id = await writing(c.env, databaseId, db, ({ streams }, call) => streams.add(entry, call))
    return reply(c, add, 200, { key: entry.key, id })
  })
  .openapi(trim, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, ...request } = c.req.valid('json')
    const { db } = c.req.valid('query')
    const count = await writing(c.env, databaseId, db, ({ streams }, call) => streams.trim(key, request, call))
    return reply(c, trim, 200, { key, removed: count })
  })
  .openapi(remove, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, ids } = c.req.valid('json')
    const { db } = c.req.valid('query')
    const count = await writing(c.env, databaseId, db, ({ streams }, call) => streams.remove(key, ids, call))
    return reply(c, remove, 200, { key, removed: count })
  })
