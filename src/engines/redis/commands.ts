import type { Call } from '../engine.ts'
import type { BatchCommand, Reply } from './wire/batch.ts'

/** Whether commands only read: what does not is refused to those who may not write, and its outcome is unknown when no answer comes. */
export type Effect = 'reads' | 'writes'

/** Sends to one logical database of a server; each send waits no longer than the command's limit and its caller's deadline. */
export interface Commands {
  /** All replies, in order; rejects with the first error once all have answered. All commands leave in one go. */
  send(call: Call, effect: Effect, ...commands: readonly BatchCommand[]): Promise<readonly Reply[]>
  /** The same with each error in its place, as an `ApiError`. */
  each(call: Call, effect: Effect, ...commands: readonly BatchCommand[]): Promise<readonly Outcome[]>
  /** The server's own words in an error reply, where they are known to hold nothing of the connection's. */
  reasonOf?(error: unknown): string | undefined
}

/** What became of one command of several. */
export type Outcome = { readonly reply: Reply } | { readonly error: Error }

/** One of the servers behind a database. */
export interface ServerCommands {
  /** `host:port` of a primary of a cluster; elsewhere there is one server. */
  readonly node?: string
  readonly commands: Commands
}

/** The connections that work on one logical database runs on. */
export interface Lanes {
  readonly database: number
  /** The connection of all callers: for commands that are over in a moment, with small replies. */
  readonly shared: Commands
  /** A server that can be reached, of a cluster any primary: for what it says of itself, and is over in a moment. */
  anyServer(call: Call): Promise<ServerCommands>
  /** A connection for this work alone, as long as it runs: for what is large, or keeps state on its connection. `POOL_EXHAUSTED`. */
  alone<T>(call: Call, work: (commands: Commands) => Promise<T>): Promise<T>
}
