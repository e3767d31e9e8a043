import type { Config } from '../config.ts'
import type { Keyring } from '../credentials/keyring.ts'
import type { Log } from '../log.ts'
import type { Change } from '../registry/changes.ts'
import { ReadCache } from '../registry/read-cache.ts'
import type { RegistryDatabase } from '../registry/registry-database.ts'
import type { JsonForm, SharedCache } from '../registry/shared-cache.ts'
import { createApiKeyStore, type StoredKey } from './api-key-store.ts'
import { type ApiKeys, createApiKeys, type KnownKey, knownKey } from './api-keys.ts'
import { createGrantStore } from './grant-store.ts'
import { createGrants, type UserGrants } from './grants.ts'
import type { Grants, Role } from './principal.ts'
import { createRateLimits, type RateLimits } from './rate-limits.ts'
import { createTokens, type Tokens } from './tokens.ts'

export interface AccessOptions {
  readonly config: Config
  readonly database: RegistryDatabase
  readonly keyring: Keyring
  readonly log: Log
  readonly caching: { readonly ttlMs: number; readonly live: () => boolean }
  /** What instances share. Whoever hears a change outdates it; changes made here do so at once. */
  readonly shared: SharedCache | undefined
}

/** Who may ask what, and how often. Disposing it notes the last uses of keys. */
export interface Access extends AsyncDisposable {
  readonly apiKeys: ApiKeys
  readonly grants: UserGrants
  readonly tokens: Tokens
  readonly limits: RateLimits
  /** A change of the registry was heard; answers whether it was one of keys or grants alone. */
  changed(change: Change): boolean
  /** Changes may have been missed. */
  doubt(): void
}

const maxKept = 20_000

type Entries = readonly (readonly [string, Role])[]

const grantsForm: JsonForm<Grants, readonly [Entries, Entries]> = {
  toJson: ({ databases, projects }) => [[...databases], [...projects]],
  fromJson: ([databases, projects]) => ({ databases: new Map(databases), projects: new Map(projects) }),
}

/** Without what was proved here. */
const keyForm: JsonForm<KnownKey, StoredKey> = {
  toJson: ({ key, hash, kid, lastUsedAt }) => ({ key, hash, kid, lastUsedAt }),
  fromJson: knownKey,
}

export function createAccess({ config, database, keyring, log, caching, shared }: AccessOptions): Access {
  const outdate = () => shared?.outdate()
  const cacheOf = <V extends object, J>(kind: string, form: JsonForm<V, J>) =>
    new ReadCache<V>({ ...caching, maxSize: maxKept, behind: shared?.of(kind, form) })
  const grantsCache = cacheOf('grants', grantsForm)
  const grants = createGrants({ store: createGrantStore(database), cache: grantsCache, outdate })
  const keysCache = cacheOf('key', keyForm)
  const apiKeys = createApiKeys({
    store: createApiKeyStore(database),
    keyring,
    cache: keysCache,
    outdate,
    log,
    grantsOf: (userId) => grants.of(userId),
  })
  const limits = createRateLimits({ config, redisUrl: config.CACHE_REDIS_URL, log })
  return {
    apiKeys,
    grants,
    tokens: createTokens(config),
    limits,
    changed({ table, id }) {
      switch (table) {
        case 'api_keys':
          apiKeys.forget(id)
          return true
        case 'database_permissions':
        case 'project_permissions':
          grants.forget(id)
          return true
        case 'databases':
          return false
        default:
          // A key's project is told by its ref.
          apiKeys.forgetAll()
          return false
      }
    },
    doubt() {
      grantsCache.doubt()
      keysCache.doubt()
    },
    async [Symbol.asyncDispose]() {
      await apiKeys[Symbol.asyncDispose]()
      await limits[Symbol.asyncDispose]()
    },
  }
}
