import { z } from '@hono/zod-openapi'
import { wholeNumber } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { readContract } from './contracts.ts'
import { DatabaseNumber, Encoding, KeyName, RedisValue } from './schemas.ts'
import { readPage } from './hash-contract.ts'
import { cutMark, echo, Pagination, paginationOf, Pattern, reading, readPosition, valueOf } from './set-schemas.ts'

const SetKey = KeyName.openapi({ example: 'colours' })
const member = z.object({ member: RedisValue, ...cutMark })
const listed = z.object({
  member: RedisValue.nullable().openapi({
    description:
      'null: too large to be answered or, without size_bytes, to be read, and so one or some that Redis keeps together',
  }),
  ...cutMark,
})

const list = readContract({
  path: '/{databaseId}/sets',
  operationId: 'RedisSetsController_list',
  summary: 'Page through a set',
  description:
    'By SSCAN: a page may be empty while has_more is true, or a little longer than count, and a member may come twice while the set changes. `member` asks for one member instead.',
  query: z.object({
    key: SetKey,
    member: z
      .string()
      .optional()
      .openapi({
        description: 'Only this member, exactly; base64 with encoding=base64. No other filter counts then',
        examples: ['red'],
      }),
    pattern: Pattern.openapi({ description: 'Only members like this glob, at most 256 bytes', examples: ['re*'] }),
    count: wholeNumber(1, 1000, 100).openapi({ description: 'Members per page, about' }),
    cursor: pageCursor(4_000_000),
    encoding: Encoding,
    db: DatabaseNumber,
  }),
  answer: z
    .object({
      key: RedisValue,
      data: z.array(listed),
      pagination: Pagination,
      length: z.number().openapi({ description: 'Members of the whole set' }),
    })
    .openapi('RedisSetPage', {
      example: {
        key: 'colours',
        data: [{ member: 'red' }],
        pagination: { next_cursor: null, has_more: false },
        length: 1,
      },
    }),
  answered: 'A page of members',
})

const random = readContract({
  path: '/{databaseId}/sets/random',
  operationId: 'RedisSetsController_random',
  summary: 'Read members of a set by chance',
  description: 'Different ones, and fewer than count where the set has no more.',
  query: z.object({
    key: SetKey,
    count: wholeNumber(1, 1000, 1).openapi({ description: 'Members at the most' }),
    encoding: Encoding,
    db: DatabaseNumber,
  }),
  answer: z
    .object({ key: RedisValue, data: z.array(member) })
    .openapi('RedisSetMembers', { example: { key: 'colours', data: [{ member: 'red' }] } }),
  answered: 'The members',
})

export const sets = createRouter()
  .openapi(list, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, member: sought, pattern, count, cursor, encoding, db } = c.req.valid('query')
    const name = valueOf('key', key, encoding)
    const scope = ['redis-sets', databaseId, db ?? null, key, encoding, pattern ?? null]
    const one = sought === undefined ? undefined : valueOf('member', sought, encoding)
    const position = readPosition(c.env, scope, cursor)
    const shares = { databaseId, db, count: Math.max(2, count) }
    const { data, length, next } = await readPage(c.env, shares, ({ sets }, call, share) =>
      one === undefined
        ? sets.page({ key: name, pattern, count, share, position, encoding }, call)
        : sets.find(name, one, encoding, call),
    )
    return reply(c, list, 200, {
      key: echo(name, encoding),
      data: [...data],
      pagination: paginationOf(c.env, scope, next),
      length,
    })
  })
  .openapi(random, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, count, encoding, db } = c.req.valid('query')
    const name = valueOf('key', key, encoding)
    const data = await reading(c.env, databaseId, db, ({ sets }, call) => sets.random(name, count, encoding, call))
    return reply(c, random, 200, { key: echo(name, encoding), data: [...data] })
  })
