import { z } from '@hono/zod-openapi'
import { type CursorPayload, readCursor, signCursor } from '#src/credentials/signed.ts'
import { redis } from '#src/engines/redis/engine.ts'
import type { RedisSession } from '#src/engines/redis/session.ts'
import type { RedisStore } from '#src/engines/redis/store.ts'
import type { Encoding as EncodingName, RedisValue as Value } from '#src/engines/redis/values.ts'
import type { Call } from '#src/engines/engine.ts'
import { invalid } from '#src/errors.ts'
import { databaseFailures, failures } from '#src/http/contract.ts'
import type { Env } from '#src/http/env.ts'
import { DatabaseNumber, Encoding } from './schemas.ts'

type RequestEnv = Env['Bindings']
type Work<T> = (store: RedisStore, call: Call, session: RedisSession) => Promise<T>

/** Reads in a logical database, again where the connection was lost unanswered. */
export function reading<T>(env: RequestEnv, databaseId: string, db: number | undefined, work: Work<T>): Promise<T> {
  env.databaseId = databaseId
  const { call } = env
  return env.deps.read(redis, databaseId, call, (session) =>
    session.in(db, call, (store) => work(store, call, session)),
  )
}

/** Writes in a logical database, once. */
export async function writing<T>(
  env: RequestEnv,
  databaseId: string,
  db: number | undefined,
  work: Work<T>,
): Promise<T> {
  env.databaseId = databaseId
  const { call } = env
  using session = await env.deps.open(redis, databaseId, call)
  return await session.in(db, call, (store) => work(store, call, session))
}

/** What every write may fail with. */
export const writeCodes = [
  ...databaseFailures,
  'DB_QUERY_ERROR',
  'DB_READ_ONLY',
  'DB_NOT_PRIMARY',
  'PAYLOAD_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
] as const

/** Failures of every route that reads a value. */
export const readFailures = failures(...databaseFailures, 'NOT_FOUND', 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY')

/** Says of a value that it is the beginning of a larger one. */
export const cutMark = {
  truncated: z
    .literal(true)
    .optional()
    .openapi({ description: 'Only the beginning is here: the whole is above 1 MiB' }),
  size_bytes: z.number().optional().openapi({ description: 'Of the whole, where it is cut' }),
}

export const Pagination = z.object({ next_cursor: z.string().nullable(), has_more: z.boolean() })

/** What POST routes take in the query; `encoding` says how answers are written. */
export const writeQuery = z.object({ db: DatabaseNumber })
export const encodedWriteQuery = z.object({
  db: DatabaseNumber,
  encoding: Encoding.openapi({ description: 'base64 forces the base64 form in the answer' }),
})

/** The position that a cursor of this scope carries; the beginning without one. */
export function readPosition(env: RequestEnv, scope: readonly unknown[], cursor: string | undefined): string[] {
  if (cursor === undefined) return []
  return readCursor(env.deps.keyring, JSON.stringify(scope), cursor).map(String)
}

export function paginationOf(env: RequestEnv, scope: readonly unknown[], next: CursorPayload | null) {
  return {
    next_cursor: next === null ? null : signCursor(env.deps.keyring, JSON.stringify(scope), next),
    has_more: next !== null,
  }
}

/** A name of a query as its bytes are to be read. `VALIDATION_FAILED` with `field` for what is no base64. */
export function valueOf(field: string, text: string, encoding: EncodingName): Value {
  if (encoding === 'utf8') return text
  if (!z.base64().safeParse(text).success) throw invalid(field, 'must be base64 with encoding=base64')
  return { base64: text }
}

/** What was asked by name, as it is answered. */
export function echo(value: Value, encoding: EncodingName): Value {
  return encoding === 'base64' && typeof value === 'string' ? { base64: Buffer.from(value).toString('base64') } : value
}

const maxPatternBytes = 256

/** A glob of at most 256 bytes. */
export const Pattern = z
  .string()
  .min(1)
  .refine((value) => Buffer.byteLength(value) <= maxPatternBytes, { error: `must be at most ${maxPatternBytes} bytes` })
  .optional()
