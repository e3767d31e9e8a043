import type { Context } from 'hono'
import { redis } from '#src/engines/redis/engine.ts'
import type { StringEdits } from '#src/engines/redis/types/string-edits.ts'
import { reply } from '#src/http/reply.ts'
import type { Env } from '#src/http/env.ts'
import { createRouter } from '#src/http/router.ts'
import { append, compareAndSet, exchange, increment, setRange, take } from './string-edit-contracts.ts'
import { noSuchKey } from '#src/engines/redis/errors.ts'

/** Runs an edit on the database that a request names. */
async function edit<T>(
  c: Context<Env>,
  databaseId: string,
  db: number | undefined,
  work: (edits: StringEdits) => Promise<T>,
): Promise<T> {
  c.env.databaseId = databaseId
  const { call } = c.env
  using session = await c.env.deps.open(redis, databaseId, call)
  return await session.in(db, call, ({ stringEdits }) => work(stringEdits))
}

const wholeNumber = /^[+-]?\d+$/

export const stringEdits = createRouter()
  .openapi(append, async (c) => {
    const { key, value } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const size = await edit(c, databaseId, c.req.valid('query').db, (edits) => edits.append(key, value, c.env.call))
    return reply(c, append, 200, { key, size_bytes: size })
  })
  .openapi(setRange, async (c) => {
    const { key, offset, value } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const size = await edit(c, databaseId, c.req.valid('query').db, (edits) =>
      edits.setRange(key, offset, value, c.env.call),
    )
    return reply(c, setRange, 200, { key, size_bytes: size })
  })
  .openapi(increment, async (c) => {
    const { key, by, float } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const step = String(by)
    const isFloat = float === true || !wholeNumber.test(step)
    const value = await edit(c, databaseId, c.req.valid('query').db, (edits) =>
      edits.increment(key, step, isFloat, c.env.call),
    )
    return reply(c, increment, 200, { key, value })
  })
  .openapi(exchange, async (c) => {
    const { key, value, encoding, ...keeping } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const before = await edit(c, databaseId, c.req.valid('query').db, (edits) =>
      edits.exchange(key, value, keeping, encoding, c.env.call),
    )
    return reply(c, exchange, 200, { key, previous: before?.value ?? null })
  })
  .openapi(take, async (c) => {
    const { key, encoding } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const taken = await edit(c, databaseId, c.req.valid('query').db, (edits) => edits.take(key, encoding, c.env.call))
    if (taken === null) throw noSuchKey()
    return reply(c, take, 200, { key, ...taken })
  })
  .openapi(compareAndSet, async (c) => {
    const { key, ifEqual, value, ...keeping } = c.req.valid('json')
    const { databaseId } = c.req.valid('param')
    const written = await edit(c, databaseId, c.req.valid('query').db, (edits) =>
      edits.compareAndSet(key, ifEqual, value, keeping, c.env.call),
    )
    return reply(c, compareAndSet, 200, { key, written })
  })
