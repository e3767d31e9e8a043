import { type Config, ConfigError } from './config.ts'
import { createKeyring, type Keyring } from './credentials/keyring.ts'
import type { Resolve } from './engines/dial.ts'
import type { EgressPolicy } from './engines/egress.ts'
import type { Call, Engine, Session } from './engines/engine.ts'
import { engineKinds } from './engines/index.ts'
import { mongodb } from './engines/mongodb/engine.ts'
import { redis } from './engines/redis/engine.ts'
import type { SrvResolver } from './engines/srv.ts'
import { parseTarget } from './engines/target.ts'
import { ApiError } from './errors.ts'
import { disabledEngines, limitsFor, maxSessionsFor } from './limits.ts'
import { createLog, type Log } from './log.ts'
import { Connections } from './registry/connections.ts'
import { embeddedKeys, openEmbedded } from './registry/embedded.ts'
import { checkCanaries } from './registry/key-canaries.ts'
import { migrate } from './registry/migrate.ts'
import { createIdempotencyStore, type IdempotencyStore } from './registry/idempotency-store.ts'
import type { Lease } from './registry/live-session.ts'
import { createProjectStore, type ProjectStore } from './registry/project-store.ts'
import { openEmbeddedDatabase, openRegistryDatabase, type RegistryDatabase } from './registry/registry-database.ts'
import { Registry } from './registry/registry.ts'
import { RowCache } from './registry/row-cache.ts'
import { registerOnce } from './registry/standing-databases.ts'
import { createDatabaseStore, type DatabaseStore } from './registry/store.ts'
import { createTargets } from './registry/targets.ts'

const migrationTimeoutMs = 600_000
const embeddedRowTtlMs = 500

/** All that routes ask for, made once per process. Disposing it closes every connection and the registry. */
export interface Deps extends AsyncDisposable {
  readonly config: Config
  readonly log: Log
  /** Service keys that open the door, the current one first. */
  readonly serviceKeys: readonly string[]
  readonly keyring: Keyring
  readonly policy: EgressPolicy
  readonly databases: DatabaseStore
  readonly projects: ProjectStore
  readonly registry: Registry
  readonly connections: Connections
  readonly idempotencyKeys: IdempotencyStore
  readonly startedAt: number
  /** Set while the server drains: readiness says so. */
  draining: boolean
  /** The session of a registered database, on loan until disposed. */
  open<S extends Session>(engine: Engine<string, S>, databaseId: string, call: Call): Promise<Lease<S>>
}

export interface DepsOverrides {
  readonly log?: Log
  readonly resolve?: Resolve
  readonly srv?: SrvResolver
}

/** Opens the registry, migrates it, proves that the keys fit it. Throws `ConfigError` where the configuration can not work with it. */
export async function createDeps(config: Config, overrides: DepsOverrides = {}): Promise<Deps> {
  await using cleanup = new AsyncDisposableStack()
  const log = overrides.log ?? createLog(config.LOG_LEVEL)
  const keys = await resolveKeys(config)
  const open = await registryOpener(config, cleanup, log)
  const applied = await migrateWith(open(migrationTimeoutMs))
  if (applied.length > 0) log.info('migrated', { applied: applied.join(', ') })
  const database = open(config.REGISTRY_TIMEOUT_MS)
  cleanup.use(database)
  const keyring = await createKeyring(keys.sealing)
  if (!(await checkCanaries(database, keyring, engineKinds))) {
    throw new ConfigError([
      "MULTI_DB_CRYPTO_KEY: opens none of the registry's rows; give the key they were sealed with, here or in MULTI_DB_CRYPTO_KEY_PREVIOUS",
    ])
  }
  const policy: EgressPolicy = {
    allow: config.EGRESS_ALLOW,
    deny: config.EGRESS_DENY,
    srvSuffixes: config.MONGODB_SRV_SUFFIXES,
    loopbackAllowed: config.mode === 'embedded',
    ownPort: undefined,
  }
  const limitsOf = (kind: string) => limitsFor(config, kind)
  const disabled = disabledEngines(config)
  const databases = createDatabaseStore(database, { maxSealsPerKey: config.MAX_SEALS_PER_KEY })
  const projects = createProjectStore(database)
  const targets = createTargets({ keyring, policy, limitsOf, resolve: overrides.resolve, srv: overrides.srv })
  // Only for opening sessions: names of projects and organizations, whose changes are not told, may be out of date in these rows.
  const rows = new RowCache(rowTtlMs(config), () => changes.live)
  const connections = new Connections({
    row: (id) => rows.get(id, () => databases.get(id)),
    targets,
    limitsOf,
    maxSessionsOf: (kind) => maxSessionsFor(config, kind),
    disabled,
  })
  cleanup.defer(() => connections.close())
  const forget = (id: string, version?: number) => {
    rows.forget(id, version)
    connections.drain(id, version)
  }
  const changes = database.hear({ changed: ({ id, version }) => forget(id, version), lost: () => rows.clear() }, log)
  cleanup.use(changes)
  await registerStanding(config, database, keyring, log)
  const registry = new Registry({
    databases,
    projects,
    connections,
    targets,
    forget,
    keyring,
    limitsOf,
    disabled,
    probeTimeoutMs: config.PROBE_TIMEOUT_MS,
  })
  const owned = cleanup.move()
  return {
    config,
    log,
    serviceKeys: keys.service,
    keyring,
    policy,
    databases,
    projects,
    registry,
    connections,
    idempotencyKeys: createIdempotencyStore(database),
    startedAt: Date.now(),
    draining: false,
    open: (engine, databaseId, call) => connections.open(engine, databaseId, call),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

// pglite-socket tells a change only to the client that made it, and an operator's psql is another one than ours.
function rowTtlMs({ mode, CACHE_TTL }: Config): number {
  return mode === 'embedded' ? Math.min(embeddedRowTtlMs, CACHE_TTL * 1000) : CACHE_TTL * 1000
}

async function resolveKeys(config: Config) {
  const kept = config.mode === 'embedded' ? await embeddedKeys(config.DATA_DIR) : undefined
  const current = config.MULTI_DB_CRYPTO_KEY ?? Buffer.from(kept?.cryptoKey ?? '', 'base64url')
  const previous = config.MULTI_DB_CRYPTO_KEY_PREVIOUS ?? []
  const engines = {
    ...(config.REDIS_CRYPTO_KEY ? { redis: config.REDIS_CRYPTO_KEY } : {}),
    ...(config.MONGODB_CRYPTO_KEY ? { mongodb: config.MONGODB_CRYPTO_KEY } : {}),
  }
  const service = [config.BUN_API_KEY ?? kept?.apiKey, config.BUN_API_KEY_PREVIOUS].filter((key) => key !== undefined)
  return { sealing: { current, previous, engines }, service }
}

async function registryOpener(
  config: Config,
  cleanup: AsyncDisposableStack,
  log: Log,
): Promise<(timeoutMs: number) => RegistryDatabase> {
  const { DATABASE_URL: url, CONNECT_TIMEOUT_MS: connectTimeoutMs, REGISTRY_MAX_POOL_SIZE: maxConnections } = config
  if (url !== undefined) {
    const options = { connectTimeoutMs, maxConnections }
    return (timeoutMs) => naming('DATABASE_URL', () => openRegistryDatabase(url, { ...options, timeoutMs }))
  }
  const { socketPath, close, failed } = await openEmbedded(config.DATA_DIR)
  cleanup.defer(close)
  void failed.then((cause) => log.error('embedded registry failed', {}, cause))
  return (timeoutMs) => openEmbeddedDatabase(socketPath, { timeoutMs, connectTimeoutMs, maxConnections })
}

/** Over a connection of its own: a migration may take far longer than a request waits for the registry. */
async function migrateWith(database: RegistryDatabase): Promise<readonly string[]> {
  await using open = database
  const { applied } = await open.use((sql) => migrate(sql as never))
  return applied
}

async function registerStanding(config: Config, database: RegistryDatabase, keyring: Keyring, log: Log): Promise<void> {
  const standing = [
    { variable: 'REDIS_URL', name: 'redis', engine: redis, url: config.REDIS_URL },
    { variable: 'MONGODB_URL', name: 'mongodb', engine: mongodb, url: config.MONGODB_URL },
  ]
  for (const { variable, name, engine, url } of standing) {
    if (url === undefined) continue
    const target = naming(variable, () => parseTarget(engine, url, {}))
    if (await registerOnce(database, keyring, name, target, config.MAX_SEALS_PER_KEY))
      log.info('registered', { name, variable })
  }
}

/** What a variable's URL is read as; a URL our parser refuses is that variable's problem. */
function naming<T>(variable: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw error instanceof ApiError ? new ConfigError([`${variable}: ${error.message}`]) : error
  }
}
