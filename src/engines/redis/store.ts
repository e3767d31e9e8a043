import type { Limits } from '../engine.ts'
import type { Lanes } from './commands.ts'
import { type Bulk, createBulk } from './keyspace/bulk.ts'
import { createDatabases, type Databases } from './keyspace/databases.ts'
import { createJson, type Json } from './types/json.ts'
import { createKey, type Key } from './keyspace/key.ts'
import { createHashes, type Hashes } from './types/hashes.ts'
import { createKeys, type Keys } from './keyspace/keys.ts'
import { createLifecycle, type Lifecycle } from './keyspace/lifecycle.ts'
import { createLists, type Lists } from './types/lists.ts'
import { createMemory, type Memory } from './keyspace/memory.ts'
import { createPublishing, type Publishing } from './watch/pubsub.ts'
import { createRunner, type Runner } from './run/run.ts'
import { createServer, type Server } from './server/server.ts'
import { createStringEdits, type StringEdits } from './types/string-edits.ts'
import { createStrings, type Strings } from './types/strings.ts'
import { createTransactions, type Transactions } from './run/transaction.ts'
import { createTree, type Tree } from './keyspace/tree.ts'
import { createSets, type Sets } from './types/sets.ts'
import { createSortedSets, type SortedSets } from './types/sorted-sets.ts'
import { createPendingEntries, type PendingEntries } from './types/stream-pending.ts'
import { createStreamGroups, type StreamGroups } from './types/stream-groups.ts'
import { createStreams, type Streams } from './types/streams.ts'

/** What can be done in one logical database, by subject. */
export interface RedisStore {
  readonly bulk: Bulk
  readonly databases: Databases
  readonly json: Json
  readonly key: Key
  readonly hashes: Hashes
  readonly keys: Keys
  readonly lists: Lists
  readonly lifecycle: Lifecycle
  readonly memory: Memory
  readonly tree: Tree
  readonly publishing: Publishing
  readonly runner: Runner
  readonly server: Server
  readonly stringEdits: StringEdits
  readonly strings: Strings
  readonly transactions: Transactions
  readonly sets: Sets
  readonly sortedSets: SortedSets
  readonly pendingEntries: PendingEntries
  readonly streamGroups: StreamGroups
  readonly streams: Streams
}

export function createStore(lanes: Lanes, limits: Limits): RedisStore {
  return {
    bulk: createBulk(lanes),
    databases: createDatabases(lanes),
    json: createJson(lanes),
    key: createKey(lanes, limits),
    hashes: createHashes(lanes, limits),
    keys: createKeys(lanes),
    lists: createLists(lanes, limits),
    lifecycle: createLifecycle(lanes),
    memory: createMemory(lanes),
    tree: createTree(lanes),
    publishing: createPublishing(lanes),
    runner: createRunner(lanes, limits),
    server: createServer(lanes),
    stringEdits: createStringEdits(lanes, limits),
    strings: createStrings(lanes, limits),
    transactions: createTransactions(lanes),
    sets: createSets(lanes, limits),
    sortedSets: createSortedSets(lanes, limits),
    pendingEntries: createPendingEntries(lanes, limits),
    streamGroups: createStreamGroups(lanes),
    streams: createStreams(lanes, limits),
  }
}
