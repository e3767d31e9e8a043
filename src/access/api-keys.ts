import { timingSafeEqual } from 'node:crypto'
import type { Keyring } from '../credentials/keyring.ts'
import { invalid } from '../errors.ts'
import type { Log } from '../log.ts'
import type { PageRequest } from '../registry/project-store.ts'
import type { Asker, ReadCache } from '../registry/read-cache.ts'
import { authorOf, reachOf, refuseMint, type WantedKey } from './api-key-reach.ts'
import { newSecret, prefixOf } from './api-key-secret.ts'
import type { ApiKeyRow, ApiKeyStore, Reach, StoredKey } from './api-key-store.ts'
import { createApiKeyUses } from './api-key-uses.ts'
import type { ApiKey, Grants, Principal } from './principal.ts'

/** A key in memory. */
export interface KnownKey extends StoredKey {
  /** SHA-256 of the secret that was proved: the next use of it costs no HMAC. Goes with the row. */
  proved: Uint8Array | undefined
  /** Milliseconds since 1970. */
  notedAt: number
}

export interface ApiKeysOptions {
  readonly store: ApiKeyStore
  readonly keyring: Keyring
  /** By prefix; `forget` of a prefix is called when its change is heard. */
  readonly cache: ReadCache<KnownKey>
  /** Called at a revocation, for what other instances share. */
  readonly outdate?: () => void
  readonly log: Log
  /** A user's grants, which say of which projects they are admin. */
  readonly grantsOf?: (userId: string) => Promise<Grants>
  /** Milliseconds since 1970. */
  readonly now?: () => number
  readonly gatherMs?: number
}

/** Scoped keys, from memory where they are known. Disposing it notes the last uses. */
export interface ApiKeys extends AsyncDisposable {
  /** Whose secret it is, where that is known without asking the registry; `digest` is its SHA-256. */
  peek(secret: string, digest?: Uint8Array): ApiKey | 'wrong' | undefined
  /** Whose secret it is; alike for unknown, wrong, expired and revoked. `REGISTRY_UNAVAILABLE` when that can not be read. */
  find(secret: string, asker?: Asker): Promise<ApiKey | undefined>
  /** The secret is in this answer and nowhere else. Throws `FORBIDDEN` for more than the principal has itself. */
  create(principal: Principal, wanted: WantedKey): Promise<ApiKeyRow & { readonly secret: string }>
  list(
    principal: Principal,
    page: PageRequest & { readonly projectRef?: string | undefined },
  ): Promise<readonly ApiKeyRow[]>
  /** Answers whether there was a key. */
  revoke(principal: Principal, id: string): Promise<boolean>
  forget(prefix: string): void
  /** For changes that may have been missed. */
  forgetAll(): void
}

/** A key that nobody has proved yet. */
export function knownKey(stored: StoredKey): KnownKey {
  return { ...stored, proved: undefined, notedAt: stored.lastUsedAt }
}

const purpose = 'api-key'
const noteEveryMs = 60_000
const defaultGatherMs = 2_000

export function createApiKeys(options: ApiKeysOptions): ApiKeys {
  const { store, keyring, cache, outdate, log, grantsOf, now = Date.now, gatherMs = defaultGatherMs } = options
  const uses = createApiKeyUses({ write: store.noteUses, log, gatherMs })
  return {
    peek(secret, digest) {
      const prefix = prefixOf(secret)
      if (prefix === undefined) return 'wrong'
      const known = cache.peek(prefix)
      return known && (proved(known, secret, digest) ?? 'wrong')
    },
    async find(secret, asker) {
      const prefix = prefixOf(secret)
      const known = prefix === undefined ? undefined : await cache.get(prefix, () => load(prefix), asker)
      return known && proved(known, secret)
    },
    async create(principal, wanted) {
      if (wanted.expiresAt !== null && Date.parse(wanted.expiresAt) <= now())
        throw invalid('expiresAt', 'must be in the future')
      refuseMint(principal, wanted)
      const { prefix, secret } = newSecret()
      const key = { ...wanted, prefix, ...hashOf(secret), createdBy: authorOf(principal) }
      return { ...(await store.create(key, await reach(principal))), secret }
    },
    list: async (principal, page) => store.list(page, await reach(principal)),
    async revoke(principal, id) {
      const prefix = await store.remove(id, await reach(principal))
      if (prefix === undefined) return false
      cache.forget(prefix)
      outdate?.()
      return true
    },
    forget: (prefix) => cache.forget(prefix),
    forgetAll: () => cache.clear(),
    [Symbol.asyncDispose]: () => uses[Symbol.asyncDispose](),
  }

  async function load(prefix: string): Promise<KnownKey | undefined> {
    const stored = await store.find(prefix)
    if (stored === undefined) return undefined
    if (keyring.byKid(stored.kid) === undefined)
      log.warn('an API key was made under a sealing key that is gone', { prefix, kid: stored.kid })
    return knownKey(stored)
  }

  function proved(known: KnownKey, secret: string, digest = Bun.SHA256.hash(secret) as Uint8Array): ApiKey | undefined {
    const { key } = known
    if (known.proved === undefined || !timingSafeEqual(known.proved, digest)) {
      if (!keyring.verifyMac(purpose, secret, known.hash)) return undefined
      known.proved = digest
      if (known.kid !== keyring.current().kid) rehash(known, secret)
    }
    const at = now()
    if (key.expiresAt !== null && key.expiresAt <= at) return undefined
    if (at - known.notedAt >= noteEveryMs) {
      known.notedAt = at
      uses.note(key.id, at)
    }
    return key
  }

  // The secret is seen at its use alone: a key that is used while the old sealing key is still there outlives it.
  function rehash({ key, hash }: KnownKey, secret: string): void {
    store.rehash(key.id, hash, hashOf(secret)).catch((error: unknown) => {
      log.warn('an API key stays under a previous sealing key', { key: key.id }, error)
    })
  }

  function hashOf(secret: string) {
    return { hash: keyring.mac(purpose, secret), kid: keyring.current().kid }
  }

  async function reach(principal: Principal): Promise<Reach> {
    return reachOf(principal, principal.kind === 'user' ? await grantsOf?.(principal.id) : undefined)
  }
}
