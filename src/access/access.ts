import type { Config } from '../config.ts'
import type { Keyring } from '../credentials/keyring.ts'
import type { Log } from '../log.ts'
import type { Change } from '../registry/changes.ts'
import { ReadCache } from '../registry/read-cache.ts'
import type { RegistryDatabase } from '../registry/registry-database.ts'
import { createApiKeyStore } from './api-key-store.ts'
import { type ApiKeys, createApiKeys, type KnownKey } from './api-keys.ts'
import { createGrantStore } from './grant-store.ts'
import { createGrants, type UserGrants } from './grants.ts'
import type { Grants } from './principal.ts'
import { createRateLimits, type RateLimits } from './rate-limits.ts'
import { createTokens, type Tokens } from './tokens.ts'

export interface AccessOptions {
  readonly config: Config
  readonly database: RegistryDatabase
  readonly keyring: Keyring
  readonly log: Log
  readonly caching: { readonly ttlMs: number; readonly live: () => boolean }
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

export function createAccess({ config, database, keyring, log, caching }: AccessOptions): Access {
  const grantsCache = new ReadCache<Grants>({ ...caching, maxSize: maxKept })
  const grants = createGrants({ store: createGrantStore(database), cache: grantsCache })
  const keysCache = new ReadCache<KnownKey>({ ...caching, maxSize: maxKept })
  const apiKeys = createApiKeys({
    store: createApiKeyStore(database),
    keyring,
    cache: keysCache,
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
