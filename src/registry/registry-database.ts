import { connect, type Socket } from 'node:net'
import type { Sql } from 'postgres'
import { ApiError, codeOf } from '../errors.ts'
import { createNetwork, type Dial } from '../engines/dial.ts'
import { type Call, callWithin, untilAborted } from '../engines/engine.ts'
import { Pool } from '../engines/pool.ts'
import { type Connection, type Notify, openConnection, type StartTarget } from '../engines/postgres/connection.ts'
import { postgres } from '../engines/postgres/engine.ts'
import { parseTarget, type TargetDescription } from '../engines/target.ts'
import type { Log } from '../log.ts'
import { type ChangeListener, type Changes, channel, listenForChanges, notifier } from './changes.ts'
import { createOutage } from './outage.ts'

/** The PostgreSQL that holds the registry: the operator's own, or the embedded one on its Unix socket. */
export interface RegistryDatabase extends AsyncDisposable {
  /**
   * Runs work on one connection. A registry that is down or late is `REGISTRY_UNAVAILABLE`, within a second where it says nothing at all
   * and at once from then on; other errors pass through as they are.
   */
  use<T>(work: (sql: Sql) => Promise<T>): Promise<T>
  /** The same for work that writes: once it has begun, a loss leaves its outcome unknown, and the error says so and is not retryable. */
  change<T>(work: (sql: Sql) => Promise<T>): Promise<T>
  /** Tells the listener of changes to registered databases, whoever makes them. */
  hear(listener: ChangeListener, log: Log): Changes
  close(): Promise<void>
}

export interface RegistryDatabaseOptions {
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly maxConnections: number
}

/** Opens the registry at `DATABASE_URL`. Throws `VALIDATION_FAILED` for a URL the PostgreSQL engine would not take. */
export function openRegistryDatabase(databaseUrl: string, options: RegistryDatabaseOptions): RegistryDatabase {
  const description = parseTarget(postgres, databaseUrl, {})
  // The operator's own store: no dial policy.
  const { dial } = createNetwork({ ...description, connectTimeoutMs: options.connectTimeoutMs })
  const target = { ...description, dial }
  let changes: Changes | undefined
  const heard = () => changes?.live ?? true
  return {
    ...overTarget(target, options, { heard }),
    hear: (listener, log) => (changes = listenForChanges(target, listener, log)),
  }
}

/** Opens the embedded registry. It is one backend on our own event loop, so it gets one connection. */
export function openEmbeddedDatabase(socketPath: string, options: RegistryDatabaseOptions): RegistryDatabase {
  const description: TargetDescription = {
    kind: 'postgres',
    protocol: 'postgresql:',
    host: 'localhost',
    port: 5432,
    hosts: [{ host: 'localhost', port: 5432 }],
    database: 'postgres',
    user: 'postgres',
    password: null,
    tls: 'off',
    options: {},
    config: {},
    warnings: [],
  }
  let notify: Notify | undefined
  const target = { ...description, dial: dialSocket(socketPath) }
  const prepare = (connection: Connection) => connection.sql.unsafe(`listen ${channel}`)
  const database = overTarget(
    target,
    { ...options, maxConnections: 1 },
    { heard: () => true, onnotify: (...told) => notify?.(...told), prepare },
  )
  const hear = (listener: ChangeListener): Changes => {
    notify = notifier(listener)
    return {
      live: true,
      close: async () => void (notify = undefined),
      [Symbol.asyncDispose]: async () => void (notify = undefined),
    }
  }
  return { ...database, hear }
}

interface Listening {
  /** Whether changes are heard, and with them the registry. */
  readonly heard: () => boolean
  readonly onnotify?: Notify
  readonly prepare?: (connection: Connection) => PromiseLike<unknown>
}

function overTarget(
  target: StartTarget,
  options: RegistryDatabaseOptions,
  { heard, onnotify, prepare }: Listening,
): Omit<RegistryDatabase, 'hear'> {
  let pool = newPool()
  const outage = createOutage({ heard, ask, began: renew, askTimeoutMs: options.connectTimeoutMs })
  const close = () => {
    outage[Symbol.dispose]()
    return pool.close()
  }
  return {
    use: (work) => borrow(work, unavailable),
    change: (work) => borrow(work, outcomeUnknown),
    close,
    [Symbol.asyncDispose]: close,
  }

  function newPool(): Pool<Connection> {
    return new Pool<Connection>({
      create: async (call) => {
        const connection = await openConnection(target, call, onnotify)
        await prepare?.(connection)
        // The operator's own store: what it answers is ours to bound, by the limits of each query.
        connection.limitBytes(Infinity)
        return connection
      },
      max: options.maxConnections,
      waitTimeoutMs: options.timeoutMs,
      maxWaiters: 1_000,
      idleTimeoutMs: 60_000,
    })
  }

  // Connections that hang may be dead for ever, and each would have to be found so by a caller.
  function renew(): void {
    const hung = pool
    pool = newPool()
    void hung.destroy()
  }

  async function ask(call: Call): Promise<void> {
    await using borrowed = await pool.acquire(call)
    await untilAborted(borrowed.value.sql`select 1`.simple(), call.signal)
  }

  async function borrow<T>(work: (sql: Sql) => Promise<T>, lost: (cause: unknown) => ApiError): Promise<T> {
    if (outage.down) throw unavailable(undefined)
    using call = callWithin(options.timeoutMs, outage.signal)
    using _ = outage.watch()
    await using borrowed = await pool.acquire(call).catch((error: unknown) => {
      throw unavailable(error)
    })
    const connection = borrowed.value
    try {
      const done = await untilAborted(work(connection.sql), call.signal)
      outage.answered()
      return done
    } catch (error) {
      // Asking a registry that says nothing to stop would be one more dial.
      if (outage.down) void connection.close()
      else if (call.signal.aborted) connection.abandon()
      if (error instanceof ApiError) throw error
      throw connection.closed || isOutage(error) ? lost(error) : error
    }
  }
}

function unavailable(cause: unknown): ApiError {
  return new ApiError('REGISTRY_UNAVAILABLE', 'The registry can not be reached. Try again shortly.', { cause })
}

function outcomeUnknown(cause: unknown): ApiError {
  return new ApiError(
    'REGISTRY_UNAVAILABLE',
    'The registry was lost while it was changed; whether the change took effect is unknown. Look before you repeat it.',
    { cause, retryable: false },
  )
}

// 08 connection exception, 53 insufficient resources, 57 operator intervention, 58 system error.
function isOutage(error: unknown): boolean {
  const code = codeOf(error) ?? ''
  return /^(08|53|57|58)...$/.test(code) || /^(CONNECTION_|ECONN|EPIPE)/.test(code)
}

function dialSocket(path: string): Dial {
  return () =>
    new Promise<Socket>((resolve, reject) => {
      const socket = connect(path)
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(socket)
      })
    })
}
