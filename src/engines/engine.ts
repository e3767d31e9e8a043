import type { ZodType } from 'zod'
import { ApiError, readOnlyDatabase } from '../errors.ts'
import type { Target } from './target.ts'

/** What every session method takes: an abort signal that also fires at the deadline, and the deadline in `performance.now()` milliseconds. */
export interface Call {
  readonly signal: AbortSignal
  readonly deadline: number
  /** The caller, the route or the database allows no write: a session method that writes throws `DB_READ_ONLY`. */
  readonly readOnly?: boolean
  /** A probe is told when a stage begins. */
  readonly stage?: (stage: Stage) => void
  /** What is used for the call was read `seconds` ago, and the registry can not be asked now; throws where that will not do. */
  stale?(seconds: number): void
}

/** The stages of a connection test, in order. */
export const stages = ['policy', 'dns', 'tcp', 'tls', 'auth', 'database', 'rights'] as const
export type Stage = (typeof stages)[number]

/** What a server says of itself, the same for every engine; `engine` holds the engine's own block. */
export interface ServerInfo {
  readonly product: string
  readonly version: string
  readonly uptime_seconds: number | null
  readonly size_bytes: number | null
  readonly role: string | null
  readonly engine: Readonly<Record<string, unknown>>
  /** Facts the owner should know: a superuser role, missing rights. */
  readonly warnings: readonly string[]
}

/** A live, closable connection to one database. Lives as long as its connection: when that is lost, `closed` says so and the next `open` makes another. */
export interface Session extends AsyncDisposable {
  readonly closed: boolean
  ping(call: Call): Promise<void>
  info(call: Call): Promise<ServerInfo>
  /** What a connection test asks instead of `info`, where that has to measure things: without sizes. */
  rights?(call: Call): Promise<ServerInfo>
  close(): Promise<void>
}

/** Bounds of one session, from the configuration. */
export interface Limits {
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
  readonly maxConnections: number
  readonly idleTimeoutMs: number
  readonly waitTimeoutMs: number
  readonly maxResponseBytes: number
  readonly maxValueBytes: number
}

/** One kind of database. A folder with the same file names as its sisters: engine, session, options, errors, values. */
export interface Engine<Kind extends string = string, S extends Session = Session> {
  /** The value in `platform.databases.type`. */
  readonly kind: Kind
  readonly label: string
  /** Schemes of its connection strings, the canonical first: `['redis:', 'rediss:']`. */
  readonly protocols: readonly string[]
  readonly defaultPort: number
  /** Where a scheme has a port of its own. */
  readonly schemePorts?: Readonly<Record<string, number>>
  /** Reads the connection string's path and options, and the fields form's `tls`. */
  readonly options: EngineOptions
  /** The keys of `config` this engine accepts. */
  readonly config: ZodType<Readonly<Record<string, unknown>>>
  /** Opens a session; throws `ApiError` with the code its errors file decides. */
  connect(target: Target, limits: Limits, call: Call): Promise<S>
}

/** How an engine reads what is special in its connection strings. */
export interface EngineOptions {
  /** Options that mean something: name → check, returning a sentence when the value is wrong. */
  readonly allowed: Readonly<Record<string, (value: string) => string | undefined>>
  /** Options other clients add that change nothing here; they are ignored with a warning. */
  readonly ignored: ReadonlySet<string>
  /** The protocol can't begin without a user name. */
  readonly userRequired: boolean
  /** A connection string may name several hosts, as for a replica set. */
  readonly severalHosts: boolean
  /** The database named in the path, or a sentence saying why it can't be. `config` bounds it. */
  database(
    path: string,
    config: Readonly<Record<string, unknown>>,
  ): { readonly name: string } | { readonly problem: string }
  /** Names of the options that say how TLS is used. */
  readonly tlsOptions: readonly string[]
  /** How TLS is used with this scheme and these options. */
  tls(protocol: string, options: Readonly<Record<string, string>>): TlsMode
  /** What is wrong with the whole although each part is right, as a sentence. */
  problem?(
    protocol: string,
    hosts: readonly { readonly host: string; readonly port: number }[],
    options: Readonly<Record<string, string>>,
    credential: { readonly user: string | undefined; readonly password: string | undefined },
  ): string | undefined
  /** Scheme and options that say the given TLS mode, for the fields form. */
  withTls(
    mode: TlsMode,
  ): { readonly protocol: string; readonly options: Readonly<Record<string, string>> } | { readonly problem: string }
}

/** `off`: plain; `unverified`: encrypted, any certificate (warned); `ca`: the chain is verified; `full`: chain and host name. */
export type TlsMode = 'off' | 'unverified' | 'ca' | 'full'

/** Binds the list of engines by kind, keeping each one's session type. */
export function defineEngines<const E extends readonly Engine[]>(
  ...engines: E
): { readonly [K in E[number]['kind']]: Extract<E[number], { kind: K }> } {
  return Object.fromEntries(engines.map((engine) => [engine.kind, engine])) as never
}

/** Throws `DB_READ_ONLY` unless both the database's `config.readOnly` and the call allow a write. */
export function assertMayWrite({ config }: Pick<Target, 'config'>, { readOnly }: Call): void {
  if (config['readOnly'] === true) throw readOnlyDatabase()
  if (readOnly === true)
    throw new ApiError('DB_READ_ONLY', 'This caller may only read this database. A write needs the role write.', {
      details: { reason: 'role' },
    })
}

/** Throws once the caller has left or the deadline has passed; asked between the rounds of work that has several. */
export function throwIfOver({ signal, deadline }: Call): void {
  signal.throwIfAborted()
  if (performance.now() >= deadline) throw new DOMException('The deadline passed', 'TimeoutError')
}

/** Milliseconds left before the call's deadline, at least 0. */
export function remainingMs(call: Call): number {
  return Math.max(0, call.deadline - performance.now())
}

/**
 * A call that ends `ms` from now, or with its parent, whichever is first. Dispose it to drop the timer. Its signal, and with it the timer,
 * is made when it is first asked for: most requests are answered before anybody does.
 */
export function callWithin(
  ms: number,
  parent?: AbortSignal | { readonly signal: AbortSignal },
  readOnly = false,
): Call & Disposable {
  const deadline = performance.now() + ms
  let controller: AbortController | undefined
  let disposed = false
  let unwatch: (() => void) | undefined
  const watch = (watched: AbortController) => {
    const above = parent && 'signal' in parent ? parent.signal : parent
    const leave = () => watched.abort(above?.reason)
    if (above?.aborted) return leave()
    const expire = () => watched.abort(new DOMException('The deadline passed', 'TimeoutError'))
    const timer = setTimeout(expire, Math.max(0, deadline - performance.now()))
    above?.addEventListener('abort', leave, { once: true })
    unwatch = () => {
      clearTimeout(timer)
      above?.removeEventListener('abort', leave)
    }
  }
  return {
    deadline,
    readOnly,
    get signal() {
      if (controller === undefined) {
        controller = new AbortController()
        if (!disposed) watch(controller)
      }
      return controller.signal
    },
    [Symbol.dispose]() {
      disposed = true
      unwatch?.()
    },
  }
}

/** Settles with the work, or rejects with the signal's reason as soon as it aborts; the work itself goes on, so its owner must clean up. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) {
      work.catch(() => undefined)
      return abort()
    }
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
