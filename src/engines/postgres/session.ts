import type { Sql } from 'postgres'
import { ApiError, invalid } from '../../errors.ts'
import {
  assertMayWrite,
  type Call,
  callWithin,
  type Limits,
  remainingMs,
  type Session,
  untilAborted,
} from '../engine.ts'
import { Pool } from '../pool.ts'
import { lostUnanswered } from '../read-retries.ts'
import type { Target } from '../target.ts'
import { type Connection, openConnection } from './connection.ts'
import { commitLost, statementTimedOut, translate } from './errors.ts'
import { toParameters } from './parameters.ts'
import { fetchRows, type QueryRequest, type QueryResult } from './rows.ts'
import { readInfo } from './server-info.ts'
import { isReadingKind, refusal } from './statement.ts'
import { type Table, type TableFilter, tablesQuery, toTable } from './tables.ts'

/** A pool of backends of one database. */
export interface PostgresSession extends Session {
  /** Runs one statement on the extended protocol in a transaction of our own, rolled back when read-only. */
  query(request: QueryRequest, call: Call): Promise<QueryResult>
  /** Tables the role may use, in postgres-meta's form. */
  tables(filter: TableFilter, call: Call): Promise<readonly Table[]>
}

// The server gives up before the caller does, so that the answer is the server's word and not a guess.
const deadlineReserveMs = 500
const rollbackTimeoutMs = 2_000

export async function openSession(target: Target, limits: Limits, call: Call): Promise<PostgresSession> {
  const pool = new Pool<Connection>({
    async create(creating) {
      using connecting = callWithin(Math.min(limits.connectTimeoutMs, remainingMs(creating)), creating.signal)
      return await openConnection(target, { ...connecting, ...(creating.stage ? { stage: creating.stage } : {}) })
    },
    // What a caller's statement left behind (settings, locks, prepared statements, temporary tables) ends with the request.
    reset: async ({ sql }) => void (await sql.unsafe('discard all')),
    max: limits.maxConnections,
    waitTimeoutMs: limits.waitTimeoutMs,
    idleTimeoutMs: limits.idleTimeoutMs,
  })
  let closed = false
  const session: PostgresSession = {
    get closed() {
      return closed
    },
    async ping(pinging) {
      await transaction(pinging, true, ({ sql }) => sql`select 1`.simple())
    },
    info: (asking) => transaction(asking, true, ({ sql }) => readInfo(sql, true)),
    rights: (asking) => transaction(asking, true, ({ sql }) => readInfo(sql, false)),
    query: runQuery,
    tables: (filter, listing) =>
      transaction(listing, true, async ({ sql }) => {
        const { text, parameters } = tablesQuery(filter)
        const rows = await sql.unsafe(
          text,
          toParameters(parameters) as never[],
          { prepare: false, simple: false } as never,
        )
        return rows.map(toTable)
      }),
    async close() {
      closed = true
      await pool.close()
    },
    [Symbol.asyncDispose]: () => session.close(),
  }
  try {
    await session.ping(call)
  } catch (error) {
    await session.close()
    throw error
  }
  return session

  /**
   * Lends a connection inside a transaction and ends it: rollback after reads, commit after writes. The first statement is ours, so a
   * caller's `SET TRANSACTION READ WRITE` comes too late. When the call ends first, the backend is cancelled and dropped.
   */
  async function transaction<T>(
    running: Call,
    readOnly: boolean,
    work: (connection: Connection) => Promise<T>,
  ): Promise<T> {
    await using borrowed = await pool.acquire(running)
    const connection = borrowed.value
    // Nothing was sent yet, so the connection is as good as before.
    if (running.signal.aborted) throw statementTimedOut(true, { cause: running.signal.reason })
    const leftMs = remainingMs(running)
    const timeoutMs = Math.max(1, Math.floor(leftMs - Math.min(deadlineReserveMs, leftMs / 4)))
    const begin = `begin ${readOnly ? 'read only' : 'read write'}; select
      pg_catalog.set_config('statement_timeout', '${timeoutMs}', true), pg_catalog.set_config('lock_timeout', '2000', true),
      pg_catalog.set_config('idle_in_transaction_session_timeout', '10000', true)`
    let begun = false
    let committing = false
    const steps = async () => {
      connection.limitBytes(limits.maxResponseBytes)
      await connection.sql.unsafe(begin)
      begun = true
      const result = await work(connection)
      committing = !readOnly
      await connection.sql.unsafe(readOnly ? 'rollback' : 'commit')
      return result
    }
    try {
      return await untilAborted(steps(), running.signal)
    } catch (error) {
      if (running.signal.aborted) {
        connection.abandon()
        throw statementTimedOut(readOnly, { cause: error })
      }
      if (connection.closed) {
        if (committing) throw commitLost(error)
        const lost = translate(error, { readOnly })
        throw begun ? lost : lostUnanswered(lost)
      }
      await rollBack(connection)
      throw translate(error, { readOnly })
    }
  }

  async function runQuery(request: QueryRequest, running: Call): Promise<QueryResult> {
    const refused = refusal(request.query)
    if (refused?.code === 'VALIDATION_FAILED') throw invalid('query', refused.message)
    if (refused) throw new ApiError(refused.code, refused.message)
    if (!request.readOnly) assertMayWrite(target, running)
    return transaction(running, request.readOnly, ({ sql }) =>
      request.readOnly && !isReadingKind(request.query) ? refuse(sql, request) : fetchRows(sql, request),
    )
  }
}

/** The server only parses and analyses the statement, so that a misspelt one is answered with its own error, and runs nothing. */
async function refuse(sql: Sql, { query, parameters }: QueryRequest): Promise<never> {
  await sql.unsafe(query, toParameters(parameters) as never[], { prepare: false, simple: false } as never).describe()
  throw new ApiError(
    'DB_READ_ONLY',
    'Only SELECT, VALUES, TABLE, WITH, EXPLAIN and SHOW run read-only. Send "readOnly": false to allow the statement.',
  )
}

/** Ends a failed transaction; a server that does not answer that in time loses the connection. */
async function rollBack(connection: Connection): Promise<void> {
  using limit = callWithin(rollbackTimeoutMs)
  await untilAborted(connection.sql.unsafe('rollback'), limit.signal).catch(() => connection.abandon())
}
