import { ApiError, invalid } from '../../errors.ts'
import type { Call, Limits, Session } from '../engine.ts'
import { Pool } from '../pool.ts'
import type { Target } from '../target.ts'
import type { CommandTable } from './run/command-table.ts'
import type { Commands, Lanes, ServerCommands } from './commands.ts'
import { replyCode } from './errors.ts'
import { defaultDatabases } from './options.ts'
import { refusingWrites, rememberCommandTable } from './run/read-only.ts'
import type { Everywhere } from './server/in-turn.ts'
import { createStore, type RedisStore } from './store.ts'
import { type OwnLink, openTopology } from './topology/topology.ts'
import { type Apart, openApart, openWatcher, type Watcher } from './watch/watch.ts'

/**
 * The registered logical database over one connection that all callers share (of a cluster, one to each primary), and further connections
 * for what can not share one.
 */
export interface RedisSession extends Session, RedisStore {
  /** The server's metadata of its commands. */
  commandTable(call: Call): Promise<CommandTable>
  /** Runs work in another logical database, on a connection of its own; in the registered one unless `database` is given. */
  in<T>(database: number | undefined, call: Call, work: (store: RedisStore) => Promise<T>): Promise<T>
  /**
   * Work with each server behind the database, over connections of the pool: one, or one to each primary of a cluster. `POOL_EXHAUSTED`;
   * `DB_UNSUPPORTED` where the user may not ask for the primaries.
   */
  everywhere<T>(call: Call, work: (all: Everywhere) => Promise<T>): Promise<T>
  /** A connection for one stream alone, beside the pool; on a cluster, to the node of a key. */
  watch(database: number | undefined, call: Call, key?: string | Buffer): Promise<Watcher>
  /** Connections for one stream alone that works on many keys, beside the pool. */
  apart(database: number | undefined, call: Call): Promise<Apart>
}

/** A connection that is lent to one caller at a time; of a cluster, several. */
interface Alone extends OwnLink {
  database: number
}

export async function openSession(target: Target, limits: Limits, call: Call): Promise<RedisSession> {
  const topology = await openTopology(target, limits, call)
  const channel = topology.shared
  const registered = Number(target.database)
  const count = topology.isCluster ? 1 : Number(target.config['databases'] ?? defaultDatabases)
  const commandTable = rememberCommandTable(channel.commands)
  const pool = new Pool<Alone>({
    create: async (creating) => Object.assign(await topology.open(creating), { database: registered }),
    // Whatever was begun or watched ends here; a user without these rights can not have begun it.
    reset: async ({ commands }) => void (await commands.each(soon(), 'reads', ['discard'], ['unwatch'])),
    max: limits.maxConnections,
    waitTimeoutMs: limits.waitTimeoutMs,
    // Most of what waits here is over in milliseconds.
    maxWaiters: limits.maxConnections * waitersPerConnection,
    idleTimeoutMs: limits.idleTimeoutMs,
  })
  const guard = (commands: Commands) => refusingWrites(commands, target, commandTable)
  const store = createStore(
    {
      database: registered,
      shared: guard(channel.commands),
      anyServer: async (running) => guarded(await topology.anyServer(running)),
      alone: (running, work) => alone(registered, running, work),
    },
    limits,
  )
  const close = async () => {
    await Promise.allSettled([channel.close(), pool.destroy()])
  }
  return {
    ...store,
    get closed() {
      return channel.closed
    },
    async ping(pinging) {
      const [outcome] = await channel.commands.each(pinging, 'reads', ['ping'])
      // A user without the right to PING is answered all the same.
      if (outcome && 'error' in outcome && replyCode(outcome.error.cause) !== 'NOPERM') throw outcome.error
    },
    info: async (asking) => topology.describe(await store.server.summary(asking), asking),
    commandTable,
    in(database, running, work) {
      if (database === undefined || database === registered) return work(store)
      return elsewhere(database, running, work)
    },
    async everywhere(running, work) {
      await using borrowed = await pool.acquire(running)
      const { all, missing } = await borrowed.value.servers(running)
      const servers = all.map(({ channel: { commands }, ...of }) => guarded({ ...of, commands }))
      return await work({ servers, missing, limits })
    },
    watch: (database, running, key) =>
      openWatcher({ ...own(database), open: (connecting) => topology.dedicated(connecting, key) }, running),
    apart: (database, running) => openApart({ ...own(database), open: topology.open }, running),
    close,
    [Symbol.asyncDispose]: close,
  }

  function guarded({ commands, ...of }: ServerCommands): ServerCommands {
    return { ...of, commands: guard(commands) }
  }

  function own(database: number | undefined) {
    return { guard, registered, database, databases: count, limits }
  }

  async function elsewhere<T>(database: number, running: Call, work: (store: RedisStore) => Promise<T>): Promise<T> {
    if (topology.isCluster) throw invalid('db', 'must be 0; a Redis Cluster has no other database')
    if (database >= count) throw invalid('db', `must be below ${count}; config.databases says how many there are`)
    return alone(database, running, (commands) => work(createStore(lanesOf(database, commands), limits)))
  }

  async function alone<T>(database: number, running: Call, work: (commands: Commands) => Promise<T>): Promise<T> {
    await using borrowed = await pool.acquire(running)
    const { value } = borrowed
    if (value.database !== database) await select(value, database, running)
    return await work(guard(value.commands))
  }
}

/** Work that has a connection alone does everything on it. */
function lanesOf(database: number, commands: Commands): Lanes {
  return { database, shared: commands, anyServer: async () => ({ commands }), alone: (_call, work) => work(commands) }
}

async function select(channel: Alone, database: number, call: Call): Promise<void> {
  const [outcome] = await channel.commands.each(call, 'reads', ['select', String(database)])
  if (outcome !== undefined && 'error' in outcome) {
    const { cause } = outcome.error
    if (replyCode(cause) !== 'ERR') throw outcome.error
    throw new ApiError('DB_QUERY_ERROR', 'The server has no database of this number.', { cause })
  }
  channel.database = database
}

const resetTimeoutMs = 2_000
const waitersPerConnection = 32

function soon(): Call {
  return { signal: AbortSignal.timeout(resetTimeoutMs), deadline: performance.now() + resetTimeoutMs }
}
