import type { Config } from './config.ts'
import type { Limits } from './engines/engine.ts'

/** Bounds of one session of an engine. */
export function limitsFor(config: Config, kind: string): Limits {
  return {
    connectTimeoutMs: config.CONNECT_TIMEOUT_MS,
    commandTimeoutMs: kind === 'redis' ? config.REDIS_COMMAND_TIMEOUT_MS : config.REQUEST_TIMEOUT_MS,
    maxConnections: poolSize(config, kind),
    idleTimeoutMs: config.POOL_IDLE_TIMEOUT_MS,
    waitTimeoutMs: config.POOL_WAIT_TIMEOUT_MS,
    maxResponseBytes: config.MAX_RESPONSE_BYTES,
    maxValueBytes: config.MAX_VALUE_BYTES,
  }
}

/** Sessions of an engine that may live at once, so that their pools, when full, keep to `MAX_*_CONNECTIONS` sockets. */
export function maxSessionsFor(config: Config, kind: string): number {
  const sockets = maxSockets(config, kind)
  return Math.max(1, Math.floor(sockets / (poolSize(config, kind) + extraSockets(kind))))
}

/** Engines that `ENABLE_*_MANAGEMENT` switches off. */
export function disabledEngines(config: Config): ReadonlySet<string> {
  const flags = {
    redis: config.ENABLE_REDIS_MANAGEMENT,
    mongodb: config.ENABLE_MONGODB_MANAGEMENT,
    bun_api: config.ENABLE_BUN_API_MANAGEMENT,
  }
  return new Set(Object.entries(flags).flatMap(([kind, enabled]) => (enabled ? [] : [kind])))
}

/** `MAX_*_CONNECTIONS`. Another Bun API is asked request by request: no socket stands. */
function maxSockets(config: Config, kind: string): number {
  switch (kind) {
    case 'postgres':
      return config.MAX_POSTGRES_CONNECTIONS
    case 'redis':
      return config.MAX_REDIS_CONNECTIONS
    case 'mongodb':
      return config.MAX_MONGODB_CONNECTIONS
    default:
      return Number.POSITIVE_INFINITY
  }
}

/** Sockets of a session beside its pool: Redis has the shared one, MongoDB's driver two that watch the server. */
function extraSockets(kind: string): number {
  if (kind === 'redis') return 1
  return kind === 'mongodb' ? 2 : 0
}

// One session alone must keep to the cap as well.
function poolSize(config: Config, kind: string): number {
  const cap = Math.max(1, maxSockets(config, kind) - extraSockets(kind))
  if (kind === 'redis') return Math.min(config.REDIS_MAX_CONNECTIONS, cap)
  return Math.min(kind === 'mongodb' ? config.MONGODB_MAX_POOL_SIZE : config.POSTGRES_MAX_POOL_SIZE, cap)
}

const embeddedTtlMs = 500

/** How long what was read from the registry is served. pglite-socket tells a change only to the client that made it, and an operator's psql is another one. */
export function cacheTtlMs({ mode, CACHE_TTL }: Config): number {
  return mode === 'embedded' ? Math.min(embeddedTtlMs, CACHE_TTL * 1000) : CACHE_TTL * 1000
}
