import { redis } from '#src/engines/redis/engine.ts'
import { ApiError } from '#src/errors.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { getJson, mergeJson, removeJson, setJson } from './json-contracts.ts'
import { keyOf } from './schemas.ts'

/** What the server says of its commands; a user whose rights do not reach that far is answered by the server itself. */
const unknown = () => undefined

export const json = createRouter()
  .openapi(getJson, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, path, encoding, db } = c.req.valid('query')
    c.env.databaseId = databaseId
    const { call } = c.env
    const name = keyOf(key, encoding)
    const found = await c.env.deps.read(redis, databaseId, call, async (session) => {
      const table = await session.commandTable(call).catch(unknown)
      return session.in(db, call, ({ json: documents }) => documents.get(table, name, path, call))
    })
    return reply(c, getJson, 200, { key: name, ...found })
  })
  .openapi(setJson, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const request = c.req.valid('json')
    c.env.databaseId = databaseId
    const { call } = c.env
    using session = await c.env.deps.open(redis, databaseId, call)
    const table = await session.commandTable(call).catch(unknown)
    const written = await session.in(db, call, ({ json: documents }) => documents.set(table, request, call))
    return reply(c, setJson, 200, { key: request.key, written })
  })
  .openapi(mergeJson, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const request = c.req.valid('json')
    c.env.databaseId = databaseId
    const { call } = c.env
    using session = await c.env.deps.open(redis, databaseId, call)
    const table = await session.commandTable(call).catch(unknown)
    await session.in(db, call, ({ json: documents }) => documents.merge(table, request, call))
    return reply(c, mergeJson, 200, { key: request.key, written: true })
  })
  .openapi(removeJson, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { key, path, encoding, db } = c.req.valid('query')
    c.env.databaseId = databaseId
    const { call } = c.env
    const name = keyOf(key, encoding)
    using session = await c.env.deps.open(redis, databaseId, call)
    const table = await session.commandTable(call).catch(unknown)
    const deleted = await session.in(db, call, ({ json: documents }) => documents.remove(table, name, path, call))
    if (deleted === 0) throw new ApiError('NOT_FOUND', 'There is no such key, or nothing at this path.')
    return reply(c, removeJson, 200, { key: name, deleted })
  })
