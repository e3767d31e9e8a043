import { z } from '@hono/zod-openapi'
import type { HashPosition } from '#src/engines/redis/types/hash-pages.ts'
import { contract, json } from '#src/http/contract.ts'
import { DatabaseIdParams, wholeNumber } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { cappedValue, hasFieldTtls, openIn, readPage, requireCommand } from './hash-contract.ts'
import { edit, increment, setTtl } from './hash-writes.ts'
import { DatabaseNumber, Encoding, KeyName, RedisValue } from './schemas.ts'
import { echo, Pagination, paginationOf, Pattern, readFailures, readPosition, valueOf } from './set-schemas.ts'

const list = contract({
  method: 'get',
  path: '/{databaseId}/hashes',
  operationId: 'RedisHashesController_list',
  tags: ['redis'],
  summary: 'Page through the fields of a hash, or read one',
  description:
    'A hash of at most 1,000 fields is paged in the order of their bytes. A larger one by HSCAN: a page may be empty while has_more is true, or a little longer than count. A value above 1 MiB is left out and its size told.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      key: KeyName.openapi({ example: 'user:1' }),
      field: z
        .string()
        .optional()
        .openapi({ description: 'Only this field, without a scan; base64 with encoding=base64', examples: ['name'] }),
      pattern: Pattern.openapi({
        description: 'Glob of fields, at most 256 bytes; all fields unless given',
        examples: ['na*'],
      }),
      count: wholeNumber(1, 1000, 100).openapi({ description: 'Fields per page, about' }),
      cursor: pageCursor(2000),
      encoding: Encoding,
      db: DatabaseNumber,
    }),
  },
  responses: {
    200: json(
      z
        .object({
          key: RedisValue,
          data: z.array(
            z.object({
              field: RedisValue.nullable().openapi({
                description: 'null: too large to be read, and so one or some that Redis keeps together',
              }),
              ...cappedValue,
              ttl_ms: z
                .number()
                .nullable()
                .optional()
                .openapi({ description: 'null: never expires; absent where the server keeps none for fields' }),
            }),
          ),
          pagination: Pagination,
          length: z.number().openapi({ description: 'Fields of the whole hash' }),
        })
        .openapi('RedisHashPage', {
          example: {
            key: 'user:1',
            data: [{ field: 'name', value: 'Ada' }],
            pagination: { next_cursor: null, has_more: false },
            length: 1,
          },
        }),
      'A page of fields',
    ),
    ...readFailures,
  },
})

export const hashes = createRouter()
  .openapi(list, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key: name, field, pattern, count, cursor, encoding, db } = c.req.valid('query')
    const key = valueOf('key', name, encoding)
    const wanted = field === undefined ? undefined : valueOf('field', field, encoding)
    // A cursor means nothing in another hash or under another pattern.
    const scope = ['redis-hash', databaseId, db ?? null, key, pattern ?? null]
    const position = positionOf(readPosition(c.env, scope, cursor))
    const shares = { databaseId, db, count: Math.max(2, count) }
    const page = await readPage(c.env, shares, async ({ hashes }, call, share, session) => {
      const fieldTtls = await hasFieldTtls(session, call)
      if (wanted === undefined) return hashes.page({ key, pattern, count, share, position, encoding, fieldTtls }, call)
      const { entry, length } = await hashes.field({ key, field: wanted, encoding, fieldTtls }, call)
      return { entries: [entry], next: null, length }
    })
    return reply(c, list, 200, {
      key: echo(key, encoding),
      data: [...page.entries],
      pagination: paginationOf(c.env, scope, page.next === null ? null : payloadOf(page.next)),
      length: page.length,
    })
  })
  .openapi(edit, async (c) => {
    const request = c.req.valid('json')
    const edited = await openIn(c.env, c.req.valid('param'), c.req.valid('query'), ({ hashes }, call) =>
      hashes.edit(request, call),
    )
    return reply(c, edit, 200, { key: echo(request.key, c.req.valid('query').encoding), ...edited })
  })
  .openapi(increment, async (c) => {
    const { encoding } = c.req.valid('query')
    const request = c.req.valid('json')
    const value = await openIn(c.env, c.req.valid('param'), c.req.valid('query'), ({ hashes }, call) =>
      hashes.increment(request, call),
    )
    return reply(c, increment, 200, {
      key: echo(request.key, encoding),
      field: echo(request.field, encoding),
      value,
    })
  })
  .openapi(setTtl, async (c) => {
    const { encoding } = c.req.valid('query')
    const request = c.req.valid('json')
    const outcomes = await openIn(c.env, c.req.valid('param'), c.req.valid('query'), async (store, call, session) => {
      await requireCommand(session, request.ttlMs === null ? 'hpersist' : 'hpexpire', 'Redis 7.4 or Valkey 9', call)
      return store.hashes.setTtl(request, call)
    })
    return reply(c, setTtl, 200, {
      key: echo(request.key, encoding),
      data: request.fields.map((field, index) => ({
        field: echo(field, encoding),
        outcome: outcomes[index] ?? 'unchanged',
      })),
      changed: outcomes.filter((outcome) => outcome === 'changed').length,
    })
  })

/** A position as a cursor carries it. */
function payloadOf(position: HashPosition): readonly string[] {
  return 'scan' in position ? ['scan', position.scan] : ['after', position.after]
}

function positionOf([kind, at]: readonly string[]): HashPosition | undefined {
  if (kind === undefined || at === undefined) return undefined
  return kind === 'scan' ? { scan: at } : { after: at }
}
