import { z } from '@hono/zod-openapi'
import { ApiError } from '#src/errors.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { withFewer } from '#src/engines/redis/types/hash-values.ts'
import type { RedisSession } from '#src/engines/redis/session.ts'
import type { RedisStore } from '#src/engines/redis/store.ts'
import type { Call } from '#src/engines/engine.ts'
import type { Env } from '#src/http/env.ts'
import { RedisValue } from './schemas.ts'
import { writing } from './set-schemas.ts'

/** Reads a page of at most `count` items; of fewer, a share of them, where their values are larger than a reply may be. */
export function readPage<T>(
  env: Env['Bindings'],
  { databaseId, db, count }: { databaseId: string; db: number | undefined; count: number },
  work: (store: RedisStore, call: Call, share: number, session: RedisSession) => Promise<T>,
): Promise<T> {
  env.databaseId = databaseId
  const { call } = env
  return env.deps.read(redis, databaseId, call, (session) =>
    withFewer(count, (share) => session.in(db, call, (store) => work(store, call, share, session))),
  )
}

/** Writes in the logical database that a request names, once. */
export function openIn<T>(
  env: Env['Bindings'],
  { databaseId }: { readonly databaseId: string },
  { db }: { readonly db?: number | undefined },
  work: (store: RedisStore, call: Call, session: RedisSession) => Promise<T>,
): Promise<T> {
  return writing(env, databaseId, db, work)
}

/** Whether the server keeps a TTL for each field, by its own table of commands; where that can not be had, it is taken not to. */
export async function hasFieldTtls(session: RedisSession, call: Call): Promise<boolean> {
  const table = await session.commandTable(call).catch(() => undefined)
  return table?.has('hpexpire') ?? false
}

/** Throws `DB_UNSUPPORTED` where the server's table lacks a command; one that can not be had says nothing. */
export async function requireCommand(session: RedisSession, name: string, since: string, call: Call): Promise<void> {
  const table = await session.commandTable(call).catch(() => undefined)
  if (table?.has(name) ?? true) return
  throw new ApiError('DB_UNSUPPORTED', `This server has no ${name.toUpperCase()}; ${since} has it.`, {
    details: { command: name },
  })
}

/** A value that may be left out for its size. */
export const cappedValue = {
  value: z.union([RedisValue, z.null()]).openapi({ description: 'null where it is left out for its size' }),
  truncated: z.literal(true).optional().openapi({ description: 'The value was left out: it is above 1 MiB' }),
  size_bytes: z.number().optional().openapi({ description: 'Of a value that was left out; absent above 9 MiB' }),
}
