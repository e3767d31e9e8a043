import { join } from 'node:path'
import { type ApiKeyStore, createApiKeyStore } from '#src/access/api-key-store.ts'
import type { WantedKey } from '#src/access/api-key-reach.ts'
import { type ApiKeys, type ApiKeysOptions, createApiKeys, type KnownKey } from '#src/access/api-keys.ts'
import { createLog } from '#src/log.ts'
import type { Changes } from '#src/registry/changes.ts'
import { ReadCache } from '#src/registry/read-cache.ts'
import { openEmbeddedDatabase, openRegistryDatabase, type RegistryDatabase } from '#src/registry/registry-database.ts'
import type { TestApp } from '#test/support/app.ts'

/**
 * API keys over an app's registry as another instance would have them. The embedded registry is for one client at a time: beside it the app
 * may only be asked while this one does nothing, so uses are noted at the end unless `gatherMs` is given.
 */
export interface Instance extends AsyncDisposable {
  readonly keys: ApiKeys
  readonly store: ApiKeyStore
  readonly changes: Changes
  readonly database: RegistryDatabase
  readonly logLines: readonly string[]
  /** How often a key was read from the registry. */
  readonly reads: () => number
}

type Options = Partial<Pick<ApiKeysOptions, 'keyring' | 'now' | 'gatherMs' | 'grantsOf'>> & {
  /** Where the registry is asked; the app's own unless given. */
  readonly url?: string
  readonly ttlMs?: number
  /** Shares this one's connections: the embedded registry takes few. What it hears, the other does not. */
  readonly beside?: Instance
}

export function openInstance(app: TestApp, { url, beside, ttlMs = 60_000, ...options }: Options = {}): Instance {
  const { DATABASE_URL: own, DATA_DIR } = app.deps.config
  const database = beside?.database ?? openRegistry()
  const logLines: string[] = []
  const log = createLog('debug', { write: (line) => void logLines.push(line) })
  const cache: ReadCache<KnownKey> = new ReadCache<KnownKey>({ ttlMs, maxSize: 100, live: () => changes.live })
  let reads = 0
  const stored = createApiKeyStore(database)
  const store: ApiKeyStore = {
    ...stored,
    find(prefix) {
      reads++
      return stored.find(prefix)
    },
  }
  const keys = createApiKeys({ keyring: app.deps.keyring, gatherMs: 600_000, ...options, store, cache, log })
  const changed = ({ table, id }: { table: string; id: string }) => void (table === 'api_keys' && keys.forget(id))
  const changes: Changes = beside?.changes ?? database.hear({ changed, lost: () => cache.doubt() }, log)
  return {
    keys,
    store,
    changes,
    database,
    logLines,
    reads: () => reads,
    async [Symbol.asyncDispose]() {
      await keys[Symbol.asyncDispose]()
      if (beside) return
      await changes.close()
      await database.close()
    },
  }

  function openRegistry(): RegistryDatabase {
    const limits = { timeoutMs: 1_000, connectTimeoutMs: 1_000, maxConnections: 2 }
    const databaseUrl = url ?? own
    if (databaseUrl === undefined) return openEmbeddedDatabase(join(DATA_DIR, 'registry.sock'), limits)
    return openRegistryDatabase(databaseUrl, limits)
  }
}

export function wanted(more: Partial<WantedKey> = {}): WantedKey {
  return { name: 'reporting', projectRef: 'default', databaseIds: null, role: 'read', expiresAt: null, ...more }
}
