import { ApiError, invalid } from '../../../errors.ts'
import { type Call, callWithin, type Limits } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import type { Channel, Link } from '../wire/channel.ts'
import type { Commands } from '../commands.ts'
import { repliesOf } from './watch-takeover.ts'

/** Connections for one stream alone, in one logical database: beside the pool, and closed when the stream ends or its caller leaves. */
export interface Apart extends AsyncDisposable {
  readonly database: number
  readonly commands: Commands
  readonly limits: Limits
  /** Also once the server turned out to be a replica. */
  readonly closed: boolean
}

/** One connection for one stream alone. */
export interface Watcher extends Apart {
  /**
   * Sends what is answered for ever (SUBSCRIBE, MONITOR) and hands over every reply from then on; nothing else can be sent after it. Ends
   * with an error alone: `OVERLOADED` where more came than was read, `RESULT_TOO_LARGE` for one reply above the cap.
   */
  replies(call: Call, ...commands: readonly BatchCommand[]): AsyncIterable<Reply>
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
  const [channel, apart] = await opened(opening, call)
  const { limits } = opening
  return Object.assign(apart, {
    replies: (watching: Call, ...commands: readonly BatchCommand[]) => repliesOf(channel, limits, watching, commands),
  })
}

/** Connections to all there is of a database, for work on many keys. */
export async function openApart(opening: Opening<Link>, call: Call): Promise<Apart> {
  const [, apart] = await opened(opening, call)
  return apart
}

async function opened<L extends Link>(opening: Opening<L>, call: Call): Promise<readonly [L, Apart]> {
  const { open, guard, registered, database = registered, databases, limits } = opening
  if (database >= databases) throw invalid('db', `must be below ${databases}; config.databases says how many there are`)
  using connecting = callWithin(limits.connectTimeoutMs, call.signal)
  const link = await open(connecting)
  const leave = () => void link.close()
  call.signal.addEventListener('abort', leave, { once: true })
  if (call.signal.aborted) leave()
  const apart: Apart = {
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
  if (database === registered) return [link, apart]
  try {
    await select(link.commands, database, connecting)
  } catch (error) {
    await apart[Symbol.asyncDispose]()
    throw error
  }
  return [link, apart]
}

async function select(commands: Commands, database: number, call: Call): Promise<void> {
  const [outcome] = await commands.each(call, 'reads', ['select', String(database)])
  if (outcome === undefined || 'reply' in outcome) return
  const { cause } = outcome.error
  throw new ApiError('DB_QUERY_ERROR', 'The server has no database of this number.', { cause })
}
