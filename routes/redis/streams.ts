import { z } from '@hono/zod-openapi'
import { booleanQuery, wholeNumber } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { readContract } from './contracts.ts'
import { DatabaseNumber, Encoding, RedisValue } from './schemas.ts'
import { readPage } from './hash-contract.ts'
import { echo, Pagination, paginationOf, reading, readPosition, valueOf } from './set-schemas.ts'
import { idBound, StreamEntry, StreamKey } from './stream-schemas.ts'

const list = readContract({
  path: '/{databaseId}/streams',
  operationId: 'RedisStreamsController_list',
  summary: 'Page through a stream',
  description: 'Entries in the order of their ids, or from the newest; nothing is marked as read.',
  query: z.object({
    key: StreamKey,
    start: idBound('-').openapi({ description: 'The lowest id; ( before it leaves it out', default: '-' }),
    end: idBound('+').openapi({ description: 'The highest id', default: '+' }),
    reverse: booleanQuery.default(false).openapi({ type: 'boolean', description: 'The newest first', default: false }),
    count: wholeNumber(1, 1000, 100).openapi({ description: 'Entries per page' }),
    cursor: pageCursor(1000),
    encoding: Encoding,
    db: DatabaseNumber,
  }),
  answer: z
    .object({
      key: RedisValue,
      data: z.array(StreamEntry),
      pagination: Pagination,
      length: z.number().openapi({ description: 'Entries of the whole stream' }),
    })
    .openapi('RedisStreamPage', {
      example: {
        key: 'events',
        data: [{ id: '1700000000000-0', fields: [{ field: 'kind', value: 'signup' }] }],
        pagination: { next_cursor: null, has_more: false },
        length: 1,
      },
    }),
  answered: 'A page of entries',
})

const sinceRedis7 = (of: string) =>
  z
    .string()
    .nullable()
    .openapi({ description: `${of}; null before Redis 7` })

const info = readContract({
  path: '/{databaseId}/streams/info',
  operationId: 'RedisStreamsController_info',
  summary: 'Read what a stream is',
  description: 'XINFO STREAM: its ids, counters and size, with the first and the last entry.',
  query: z.object({ key: StreamKey, encoding: Encoding, db: DatabaseNumber }),
  answer: z
    .object({
      key: RedisValue,
      length: z.number(),
      groups: z.number(),
      last_generated_id: z.string(),
      max_deleted_entry_id: sinceRedis7('The highest id that was deleted'),
      entries_added: sinceRedis7('Entries ever added'),
      recorded_first_entry_id: sinceRedis7('The first id'),
      radix_tree_keys: z.number(),
      radix_tree_nodes: z.number(),
      first_entry: z.union([StreamEntry, z.null()]),
      last_entry: z.union([StreamEntry, z.null()]),
    })
    .openapi('RedisStreamInfo', {
      example: {
        key: 'events',
        length: 1,
        groups: 1,
        last_generated_id: '1700000000000-0',
        max_deleted_entry_id: '0-0',
        entries_added: '1',
        recorded_first_entry_id: '1700000000000-0',
        radix_tree_keys: 1,
        radix_tree_nodes: 2,
        first_entry: { id: '1700000000000-0', fields: [{ field: 'kind', value: 'signup' }] },
        last_entry: { id: '1700000000000-0', fields: [{ field: 'kind', value: 'signup' }] },
      },
    }),
  answered: 'What the stream is',
})

export const streams = createRouter()
  .openapi(list, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, cursor, db, ...query } = c.req.valid('query')
    const { encoding, start, end, reverse } = query
    const name = valueOf('key', key, encoding)
    const scope = ['redis-streams', databaseId, db ?? null, key, encoding, start, end, reverse]
    const position = readPosition(c.env, scope, cursor)
    const shares = { databaseId, db, count: query.count + 1 }
    const { data, length, next } = await readPage(c.env, shares, ({ streams }, call, share) =>
      streams.page({ ...query, key: name, share, position }, call),
    )
    return reply(c, list, 200, {
      key: echo(name, encoding),
      data: [...data],
      pagination: paginationOf(c.env, scope, next),
      length,
    })
  })
  .openapi(info, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, encoding, db } = c.req.valid('query')
    const name = valueOf('key', key, encoding)
    const found = await reading(c.env, databaseId, db, ({ streams }, call) => streams.info(name, encoding, call))
    return reply(c, info, 200, { key: echo(name, encoding), ...found })
  })
