import { noSuchKey } from '#src/engines/redis/errors.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { writing } from './set-schemas.ts'
import { append, compareAndSet, exchange, increment, setRange, take } from './string-edit-contracts.ts'

const wholeNumber = /^[+-]?\d+$/

export const stringEdits = createRouter()
  .openapi(append, async (c) => {
    const { key, value } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const size = await writing(c.env, databaseId, db, ({ stringEdits }, call) => stringEdits.append(key, value, call))
    return reply(c, append, 200, { key, size_bytes: size })
  })
  .openapi(setRange, async (c) => {
    const { key, offset, value } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const size = await writing(c.env, databaseId, db, ({ stringEdits }, call) =>
      stringEdits.setRange(key, offset, value, call),
    )
    return reply(c, setRange, 200, { key, size_bytes: size })
  })
  .openapi(increment, async (c) => {
    const { key, by, float } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const step = String(by)
    const isFloat = float === true || !wholeNumber.test(step)
    const value = await writing(c.env, databaseId, db, ({ stringEdits }, call) =>
      stringEdits.increment(key, step, isFloat, call),
    )
    return reply(c, increment, 200, { key, value })
  })
  .openapi(exchange, async (c) => {
    const { key, value, encoding, ...keeping } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const before = await writing(c.env, databaseId, db, ({ stringEdits }, call) =>
      stringEdits.exchange(key, value, keeping, encoding, call),
    )
    return reply(c, exchange, 200, { key, previous: before?.value ?? null })
  })
  .openapi(take, async (c) => {
    const { key, encoding } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const taken = await writing(c.env, databaseId, db, ({ stringEdits }, call) => stringEdits.take(key, encoding, call))
    if (taken === null) throw noSuchKey()
    return reply(c, take, 200, { key, ...taken })
  })
  .openapi(compareAndSet, async (c) => {
    const { key, ifEqual, value, ...keeping } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const { db } = c.req.valid('query')
    const written = await writing(c.env, databaseId, db, ({ stringEdits }, call) =>
      stringEdits.compareAndSet(key, ifEqual, value, keeping, call),
    )
    return reply(c, compareAndSet, 200, { key, written })
  })
