import type { Asker, ReadCache } from '../registry/read-cache.ts'
import type { GrantStore } from './grant-store.ts'
import type { Grants } from './principal.ts'

export interface GrantsOptions {
  readonly store: GrantStore
  /** By user. Its owner clears it when changes may have been missed. */
  readonly cache: ReadCache<Grants>
  /** Called at a change made here, for what other instances share. */
  readonly outdate?: () => void
}

/** The store's grants, of users also from memory. Every change made here is known here at once. */
export interface UserGrants extends GrantStore {
  /** A user's grants where they are known. */
  peek(userId: string): Grants | undefined
  /**
   * A user's grants, read where they are not known. `REGISTRY_UNAVAILABLE` when they can not be read, unless the asker takes old ones:
   * nothing is allowed unread.
   */
  of(userId: string, asker?: Asker): Promise<Grants>
  /** To be called when a change of the user's grants is heard. */
  forget(userId: string): void
}

export function createGrants({ store, cache, outdate }: GrantsOptions): UserGrants {
  // Also after a failure: a change whose outcome is unknown may have been made.
  const changing = async <T>(userId: string, change: Promise<T>): Promise<T> => {
    try {
      return await change
    } finally {
      cache.forget(userId)
      outdate?.()
    }
  }
  return {
    ...store,
    peek: (userId) => cache.peek(userId),
    of: (userId, asker) => cache.get(userId, () => store.grantsOf(userId), asker),
    forget: (userId) => cache.forget(userId),
    setOnDatabase: (databaseId, grant) => changing(grant.userId, store.setOnDatabase(databaseId, grant)),
    removeFromDatabase: (databaseId, userId) => changing(userId, store.removeFromDatabase(databaseId, userId)),
    setOnProject: (ref, grant) => changing(grant.userId, store.setOnProject(ref, grant)),
    removeFromProject: (ref, userId) => changing(userId, store.removeFromProject(ref, userId)),
  }
}
