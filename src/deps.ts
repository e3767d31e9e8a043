import manifest from '#package' with { type: 'json' }
import { type Access, createAccess } from './access/access.ts'
import { type Config, ConfigError, naming } from './config.ts'
import { createKeyring, type Keyring } from './credentials/keyring.ts'
import type { Resolve } from './engines/dial.ts'
import type { EgressPolicy } from './engines/egress.ts'
import type { Call, Engine, Session } from './engines/engine.ts'
import { engineKinds } from './engines/index.ts'
import { mongodb } from './engines/mongodb/engine.ts'
import { redis } from './engines/redis/engine.ts'
import { createReadRetries, createWork, type Work } from './engines/read-retries.ts'
import type { SrvResolver } from './engines/srv.ts'
import { parseTarget } from './engines/target.ts'
import { resolveKeys } from './keys.ts'
import { cacheTtlMs, disabledEngines, limitsFor, maxSessionsFor } from './limits.ts'
import { createLog, type Log } from './log.ts'
import { Connections } from './registry/connections.ts'
import { openEmbedded } from './registry/embedded.ts'
import { checkCanaries } from './registry/key-canaries.ts'
import { migrate } from './registry/migrate.ts'
import { createIdempotencyStore, type IdempotencyStore } from './registry/idempotency-store.ts'
import type { Change } from './registry/changes.ts'
import type { DatabaseRow } from './registry/database.ts'
import type { Borrower, Lease } from './registry/live-session.ts'
import { createProjectStore, type ProjectStore, tellingChanges } from './registry/project-store.ts'
import { openEmbeddedDatabase, openRegistryDatabase, type RegistryDatabase } from './registry/registry-database.ts'
import { Registry } from './registry/registry.ts'
import { type KeptAnswer, ReadCache } from './registry/read-cache.ts'
import { openSharedCache } from './registry/shared-cache.ts'
import { registerOnce } from './registry/standing-databases.ts'
import { createDatabaseStore, type DatabaseStore } from './registry/store.ts'
import { createTargets } from './registry/targets.ts'
import { createLoad, type Load } from './http/load.ts'

const migrationTimeoutMs = 600_000
const maxKeptRows = 20_000
const maxKeptListBytes = 16_777_216

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
  /** Answers of lists, by the query they were asked with. */
  readonly lists: ReadCache<KeptAnswer>
  readonly connections: Connections
  readonly apiKeys: Access['apiKeys']
  readonly grants: Access['grants']
  readonly tokens: Access['tokens']
  readonly limits: Access['limits']
  readonly load: Load
  /** Whether anything of the registry is in memory, to be served while it is down. */
  readonly cached: () => boolean
  readonly idempotencyKeys: IdempotencyStore
  readonly startedAt: number
  /** Set while the server drains: readiness says so. */
  draining: boolean
  /** Aborted when the server drains: streams end, which would last for ever. */
  readonly stopping: AbortController
  /** Work that only reads, tried once more when its connection turned out lost. */
  readonly read: Work
  /** Work on a session that is lent for it. */
  readonly use: Work
  /** The session of a registered database, on loan until disposed; at once where it is there. */
  open<S extends Session>(
    engine: Engine<string, S>,
    databaseId: string,
    call: Call,
    borrower?: Borrower,
  ): Lease<S> | Promise<Lease<S>>
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
  const targets = createTargets({ keyring, policy, limitsOf, resolve: overrides.resolve, srv: overrides.srv })
  const caching = { ttlMs: cacheTtlMs(config), live: () => changes.live }
  const shared = naming('CACHE_REDIS_URL', () => openSharedCache(config, keyring, log, manifest.version))
  if (shared) cleanup.use(shared)
  const rows = new ReadCache<DatabaseRow>({ ...caching, maxSize: maxKeptRows, behind: shared?.of('row') })
  const lists = new ReadCache<KeptAnswer>({
    ...caching,
    maxSize: maxKeptListBytes,
    sizeOf: ({ json }) => json.length + 1,
    behind: shared?.of('list'),
  })
  const connections = new Connections({
    row: (id, call) => rows.peek(id) ?? rows.get(id, () => databases.get(id), call),
    targets,
    limitsOf,
    maxSessionsOf: (kind) => maxSessionsFor(config, kind),
    disabled,
    breakerChanged: (database_id, state, code) => log.warn('breaker', { database_id, state, code }),
  })
  cleanup.defer(() => connections.close())
  const forget = (id: string, version?: number) => {
    lists.clear()
    shared?.outdate()
    rows.forget(id)
    connections.drain(id, version)
  }
  const forgetAll = () => {
    lists.clear()
    shared?.outdate()
    rows.clear()
  }
  const doubtAll = () => {
    lists.doubt()
    shared?.outdate()
    rows.doubt()
    access.doubt()
  }
  const access = createAccess({ config, database, keyring, log, caching, shared })
  cleanup.use(access)
  const projects = tellingChanges(createProjectStore(database), { removed: (id) => forget(id), renamed: forgetAll })
  const changed = (change: Change) => {
    if (access.changed(change)) return shared?.outdate()
    // Names of projects and organizations are in the rows too.
    if (change.table === 'databases') forget(change.id, change.version)
    else forgetAll()
  }
  const changes = database.hear({ changed, lost: doubtAll }, log)
  cleanup.use(changes)
  await registerStanding(config, database, keyring, log)
  const registry = new Registry({
    databases,
    projects,
    rows,
    connections,
    targets,
    forget,
    keyring,
    limitsOf,
    disabled,
    probeTimeoutMs: config.PROBE_TIMEOUT_MS,
  })
  const stopping = new AbortController()
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
    lists,
    connections,
    apiKeys: access.apiKeys,
    grants: access.grants,
    tokens: access.tokens,
    limits: access.limits,
    load: createLoad({
      maxInFlight: config.MAX_IN_FLIGHT,
      maxPerDatabase: config.MAX_DATABASE_IN_FLIGHT,
      maxStreams: config.MAX_STREAMS,
      maxStreamsPerDatabase: config.MAX_DATABASE_STREAMS,
    }),
    cached: () => rows.holds || lists.holds,
    idempotencyKeys: createIdempotencyStore(database),
    startedAt: Date.now(),
    draining: false,
    stopping,
    read: createReadRetries({ open: (engine, databaseId, call) => connections.open(engine, databaseId, call) }),
    use: createWork({ open: (engine, databaseId, call) => connections.open(engine, databaseId, call) }),
    open: (engine, databaseId, call, borrower) => connections.open(engine, databaseId, call, borrower),
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await owned.disposeAsync()
      log.flush()
    },
  }
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
