import { z } from '@hono/zod-openapi'
import { invalid } from '#src/errors.ts'
import { contract, json } from '#src/http/contract.ts'
import { DatabaseIdParams, wholeNumber } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { cappedValue, openIn, readPage, requireCommand } from './hash-contract.ts'
import { insert, move, pop, push, remove, set, trim } from './list-writes.ts'
import { DatabaseNumber, Encoding, KeyName, RedisValue } from './schemas.ts'
import { echo, Pagination, paginationOf, readFailures, readPosition, valueOf } from './set-schemas.ts'

const list = contract({
  method: 'get',
  path: '/{databaseId}/lists',
  operationId: 'RedisListsController_list',
  tags: ['redis'],
  summary: 'Page through the elements of a list',
  description:
    'By positions: elements move when the list is pushed to or popped from at its beginning between two pages. A page of large elements is shorter than count; an element above 1 MiB is left out and its size told.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      key: KeyName.openapi({ example: 'queue' }),
      start: z
        .string()
        .regex(/^-?\d{1,15}$/, { error: 'must be a whole number' })
        .transform(Number)
        .optional()
        .openapi({
          type: 'integer',
          description: 'The first position; from the end where negative. The beginning unless given',
          examples: [0],
        }),
      count: wholeNumber(1, 1000, 100).openapi({ description: 'Elements per page, at the most' }),
      cursor: pageCursor(1000),
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
              index: z.number().openapi({ description: 'From the beginning, which is 0' }),
              ...cappedValue,
            }),
          ),
          pagination: Pagination,
          length: z.number().openapi({ description: 'Elements of the whole list' }),
        })
        .openapi('RedisListPage', {
          example: {
            key: 'queue',
            data: [{ index: 0, value: 'first' }],
            pagination: { next_cursor: null, has_more: false },
            length: 1,
          },
        }),
      'A page of elements',
    ),
    ...readFailures,
  },
})

export const lists = createRouter()
  .openapi(list, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key: name, start, count, cursor, encoding, db } = c.req.valid('query')
    if (start !== undefined && cursor !== undefined) throw invalid('start', 'and cursor exclude each other')
    const key = valueOf('key', name, encoding)
    const scope = ['redis-list', databaseId, db ?? null, key]
    const from = Number(readPosition(c.env, scope, cursor)[0] ?? start ?? 0)
    const page = await readPage(c.env, { databaseId, db, count }, (store, call, share) =>
      store.lists.page({ key, start: from, count, share, encoding }, call),
    )
    return reply(c, list, 200, {
      key: echo(key, encoding),
      data: [...page.entries],
      pagination: paginationOf(c.env, scope, page.next === null ? null : [page.next]),
      length: page.length,
    })
  })
  .openapi(push, async (c) => {
    const [params, query, request] = [c.req.valid('param'), c.req.valid('query'), c.req.valid('json')]
    const pushed = await openIn(c.env, params, query, ({ lists }, call) => lists.push(request, call))
    return reply(c, push, 200, { key: echo(request.key, query.encoding), ...pushed })
  })
  .openapi(set, async (c) => {
    const [params, query, request] = [c.req.valid('param'), c.req.valid('query'), c.req.valid('json')]
    const length = await openIn(c.env, params, query, ({ lists }, call) => lists.set(request, call))
    return reply(c, set, 200, {
      key: echo(request.key, query.encoding),
      index: request.index,
      written: true,
      length,
    })
  })
  .openapi(insert, async (c) => {
    const [params, query, request] = [c.req.valid('param'), c.req.valid('query'), c.req.valid('json')]
    const length = await openIn(c.env, params, query, ({ lists }, call) => lists.insert(request, call))
    return reply(c, insert, 200, { key: echo(request.key, query.encoding), length })
  })
  .openapi(remove, async (c) => {
    const [params, query, request] = [c.req.valid('param'), c.req.valid('query'), c.req.valid('json')]
    const { key, value, count = 1, index = 0, expected } = request
    const removal = value === undefined ? { key, index, expected } : { key, value, count }
    const removed = await openIn(c.env, params, query, ({ lists }, call) => lists.remove(removal, call))
    return reply(c, remove, 200, { key: echo(request.key, query.encoding), ...removed })
  })
  .openapi(trim, async (c) => {
    const [params, query, request] = [c.req.valid('param'), c.req.valid('query'), c.req.valid('json')]
    const removed = await openIn(c.env, params, query, ({ lists }, call) => lists.trim(request, call))
    return reply(c, trim, 200, { key: echo(request.key, query.encoding), ...removed })
  })
  .openapi(pop, async (c) => {
    const [params, query, request] = [c.req.valid('param'), c.req.valid('query'), c.req.valid('json')]
    const { encoding } = query
    const { values, length } = await openIn(c.env, params, query, ({ lists }, call) =>
      lists.pop({ ...request, encoding }, call),
    )
    return reply(c, pop, 200, { key: echo(request.key, encoding), data: [...values], length })
  })
  .openapi(move, async (c) => {
    const [params, query, request] = [c.req.valid('param'), c.req.valid('query'), c.req.valid('json')]
    const { encoding } = query
    const moved = await openIn(c.env, params, query, async (store, call, session) => {
      await requireCommand(session, 'lmove', 'Redis 6.2', call)
      return await store.lists.move({ ...request, encoding }, call)
    })
    return reply(c, move, 200, {
      source: echo(request.source, encoding),
      destination: echo(request.destination, encoding),
      ...moved,
    })
  })
