import { z } from '@hono/zod-openapi'
import { readCursor, signCursor } from '#src/credentials/signed.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { withFewer } from '#src/engines/redis/types/hash-values.ts'
import { requireJson } from '#src/engines/redis/types/modules.ts'
import { body, contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { booleanQuery, DatabaseIdParams, wholeNumber } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { pageCursor } from '../parameters.ts'
import { KeyReport, PutKey } from './key-schemas.ts'
import { DatabaseNumber, Encoding, keyOf, KeyName, RedisValue } from './schemas.ts'
import { writeCodes } from './set-schemas.ts'
import { noSuchKey } from '#src/engines/redis/errors.ts'

const get = contract({
  method: 'get',
  path: '/{databaseId}/key',
  operationId: 'RedisKeyController_get',
  tags: ['redis'],
  summary: 'Read a key of any type',
  description:
    'What the key is, and a page of its value in a form by its type, which PUT takes too. A page of a hash or set may be a little longer than count or repeat a member; a page of a string is 1 MiB. Types of modules that have no form here are told without a value.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      key: KeyName,
      value: booleanQuery
        .default(true)
        .openapi({ type: 'boolean', description: 'false reads no value', default: true }),
      count: wholeNumber(1, 1000, 100).openapi({ description: 'Members per page, about' }),
      cursor: pageCursor(1000),
      encoding: Encoding,
      db: DatabaseNumber,
    }),
  },
  responses: {
    200: json(KeyReport, 'The key'),
    ...failures(...databaseFailures, 'NOT_FOUND', 'DB_CONFLICT', 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

const put = contract({
  method: 'put',
  path: '/{databaseId}/key',
  operationId: 'RedisKeyController_put',
  tags: ['redis'],
  summary: 'Create or replace a key of any type',
  description:
    'As a whole and at once: no reader sees a part of it. What was there is replaced whatever its type, and its TTL dropped unless keepTtl is set. A JSON document, given as its text, replaces no other type.',
  access: 'write',
  operation: 'write',
  request: { params: DatabaseIdParams, query: z.object({ db: DatabaseNumber }), body: body(PutKey) },
  responses: {
    200: json(
      z
        .object({
          key: RedisValue,
          type: z.string(),
          written: z.boolean().openapi({ description: 'false when onlyNew or onlyExisting forbade it' }),
        })
        .openapi('RedisKeyWritten', { example: { key: 'user:1', type: 'hash', written: true } }),
      'Whether it was written',
    ),
    ...failures(...writeCodes, 'DB_CONFLICT'),
  },
})

const remove = contract({
  method: 'delete',
  path: '/{databaseId}/key',
  operationId: 'RedisKeyController_delete',
  tags: ['redis'],
  summary: 'Delete a key of any type',
  description: 'By UNLINK: its memory is freed in the background.',
  access: 'write',
  operation: 'delete',
  request: {
    params: DatabaseIdParams,
    query: z.object({ key: KeyName, encoding: Encoding, db: DatabaseNumber }),
  },
  responses: {
    204: { description: 'Deleted' },
    ...failures(...databaseFailures, 'NOT_FOUND', 'DB_QUERY_ERROR', 'DB_READ_ONLY', 'DB_NOT_PRIMARY'),
  },
})

export const key = createRouter()
  .openapi(get, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, value, count, cursor, encoding, db } = c.req.valid('query')
    c.env.databaseId = databaseId
    const { call } = c.env
    const { keyring } = c.env.deps
    const scope = JSON.stringify(['redis-key', databaseId, db ?? null, encoding, key])
    const name = keyOf(key, encoding)
    const from = cursor === undefined ? undefined : readCursor(keyring, scope, cursor).map(String)
    const request = {
      key: name,
      encoding,
      count: value ? count : 0,
      from: from && { type: from[0] ?? '', position: from[1] ?? '' },
    }
    const { next, ...found } = await c.env.deps.read(redis, databaseId, call, (session) =>
      withFewer(request.count, (share) =>
        session.in(db, call, ({ key: one }) => one.read({ ...request, count: Math.ceil(request.count / share) }, call)),
      ),
    )
    const page = { ...found, value: found.value as never, truncated: next !== null }
    return reply(c, get, 200, {
      ...page,
      pagination: {
        next_cursor: next === null ? null : signCursor(keyring, scope, [next.type, next.position]),
        has_more: next !== null,
      },
    })
  })
  .openapi(put, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const { type, value, key, ...rest } = c.req.valid('json')
    c.env.databaseId = databaseId
    const { call } = c.env
    using session = await c.env.deps.open(redis, databaseId, call)
    if (type === 'json') requireJson(await session.commandTable(call).catch(() => undefined), 'json.set')
    const written = await session.in(db, call, ({ key: one }) =>
      one.put({ ...rest, key, typed: { type, value } as never }, call),
    )
    return reply(c, put, 200, { key, type, written })
  })
  .openapi(remove, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, encoding, db } = c.req.valid('query')
    c.env.databaseId = databaseId
    const { call } = c.env
    const name = keyOf(key, encoding)
    using session = await c.env.deps.open(redis, databaseId, call)
    const isRemoved = await session.in(db, call, ({ lifecycle }) => lifecycle.remove(name, call))
    if (!isRemoved) throw noSuchKey()
    return c.body(null, 204)
  })
