import { ApiError, invalid } from '../../../errors.ts'
import { type Call, callWithin, type Limits } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Channel, Link } from '../wire/channel.ts'
import type { Commands, ServerCommands } from '../commands.ts'
import { refuseMissing, type Servers } from '../topology/cluster-primaries.ts'
import type { OwnLink } from '../topology/topology.ts'
import { repliesOf, type ServerReply } from './watch-takeover.ts'

/** Connections for one stream alone, in one logical database: beside the pool, and closed when the stream ends or its caller leaves. */
interface Own extends AsyncDisposable {
  readonly database: number
  readonly commands: Commands
  readonly limits: Limits
  /** Also once the server turned out to be a replica. */
  readonly closed: boolean
}

/** Servers that are listened to. */
export interface Watched {
  readonly database: number
  readonly limits: Limits
  /** Each by itself. */
  readonly servers: readonly ServerCommands[]
  /**
   * Sends each of them what is answered for ever (SUBSCRIBE, MONITOR) and hands over every reply of all from then on; nothing else can be
   * sent after it. Ends with an error alone: `OVERLOADED` where more came than was read, `RESULT_TOO_LARGE` for one reply above the cap,
   * `DB_UNAVAILABLE` where one of a cluster's primaries is lost, or others have become primaries.
   */
  replies(call: Call, ...commands: readonly BatchCommand[]): AsyncIterable<ServerReply>
}

/** One connection for one stream alone. */
export interface Watcher extends Own, Watched {}

/** Connections for one stream alone to all there is of a database. */
export interface Apart extends Own {
  /**
   * The server, or of a cluster every primary, for what one of them does not tell of the others. `DB_UNSUPPORTED` where the user may not
   * ask for the primaries, `DB_UNAVAILABLE` where one can not be reached.
   */
  everywhere(call: Call): Promise<Watched>
}

/** What such a connection is opened with. */
export interface Opening<L extends Link> {
  /** As the session's other connections are made. */
  readonly open: (connecting: Call) => Promise<L>
  /** Refuses what the database or the caller does not allow. */
  readonly guard: (commands: Commands) => Commands
  /** The one it is in when it is opened. */
  readonly registered: number
  /** The registered one unless given; below `databases`. */
  readonly database: number | undefined
  readonly databases: number
  readonly limits: Limits
}

/** One connection, for what takes it over. */
export async function openWatcher(opening: Opening<Channel>, call: Call): Promise<Watcher> {
  const [channel, own] = await opened(opening, call)
  return Object.assign(own, watchedOf(opening, own, { all: [{ channel }], missing: [] }))
}

/** Connections to all there is of a database, for work on many keys. */
export async function openApart(opening: Opening<OwnLink>, call: Call): Promise<Apart> {
  const [link, own] = await opened(opening, call)
  return Object.assign(own, {
    async everywhere(listening: Call) {
      const servers = await link.servers(listening)
      refuseMissing(servers.missing)
      return watchedOf(opening, own, servers)
    },
  })
}

function watchedOf({ guard, limits }: Opening<Link>, { database }: Own, servers: Servers): Watched {
  return {
    database,
    limits,
    servers: servers.all.map(({ channel, ...named }) => ({ ...named, commands: guard(channel.commands) })),
    replies: (watching, ...commands) => repliesOf(servers, limits, watching, commands),
  }
}

async function opened<L extends Link>(opening: Opening<L>, call: Call): Promise<readonly [L, Own]> {
  const { open, guard, registered, database = registered, databases, limits } = opening
  if (database >= databases) throw invalid('db', `must be below ${databases}; config.databases says how many there are`)
  using connecting = callWithin(limits.connectTimeoutMs, call.signal)
  const link = await open(connecting)
  const leave = () => void link.close()
  call.signal.addEventListener('abort', leave, { once: true })
  if (call.signal.aborted) leave()
  const own: Own = {
    database,
    commands: guard(link.commands),
    limits,
    get closed() {
      return link.closed
    },
    async [Symbol.asyncDispose]() {
      call.signal.removeEventListener('abort', leave)
      await link.close()
    },
  }
  if (database === registered) return [link, own]
  try {
    await select(link.commands, database, connecting)
  } catch (error) {
    await own[Symbol.asyncDispose]()
    throw error
  }
  return [link, own]
}

async function select(commands: Commands, database: number, call: Call): Promise<void> {
  const [outcome] = await commands.each(call, 'reads', ['select', String(database)])
  if (outcome === undefined || 'reply' in outcome) return
  const { cause } = outcome.error
  throw new ApiError('DB_QUERY_ERROR', 'The server has no database of this number.', { cause })
}
