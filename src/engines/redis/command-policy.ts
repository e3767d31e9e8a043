import { ApiError } from '../../errors.ts'
import type { CommandInfo, CommandTable } from './command-table.ts'

const roles = ['read', 'write', 'admin'] as const
type Role = (typeof roles)[number]

/** Who runs a command, and where. */
export interface Caller {
  readonly role: Role
  /** `config.readOnly`, a read route, or a caller who may only read. */
  readonly readOnly: boolean
  /** The database's `config.allowScripts`: scripts for the role write as well. */
  readonly allowScripts: boolean
}

/** `read` and `write` work on keys, `script` runs Lua, `dangerous` is costly or tells of others, `admin` changes the server. */
export type CommandClass = 'read' | 'write' | 'script' | 'dangerous' | 'admin'

export interface Classified {
  /** The command's name in lower case, its sub-command after a space. */
  readonly name: string
  readonly class: CommandClass
  /** Whether it may change something; the metadata's word, and for what it says nothing of, yes. */
  readonly writes: boolean
}

// They own the connection that all callers share, block it, or lead out of the database; the server's metadata can't allow them.
const denied: ReadonlySet<string> = new Set(
  `acl asking auth bgrewriteaof bgsave client cluster config debug discard exec failover flushall function hello migrate
   module monitor multi pfdebug pfselftest psubscribe psync punsubscribe quit readonly readwrite replconf replicaof reset
   restore-asking save select shutdown slaveof ssubscribe subscribe sunsubscribe swapdb sync unsubscribe unwatch wait waitaof watch`.split(
    /\s+/,
  ),
)
// Sub-commands that are refused although others of their container are not, and the other way round.
const deniedParts: ReadonlySet<string> = new Set(['script kill', 'script debug', 'script flush', 'latency reset'])
const allowedParts: ReadonlySet<string> = new Set([
  'client getname',
  'client id',
  'client info',
  'client list',
  'cluster info',
  'function list',
  'function stats',
])
// Neither readonly nor write in the metadata, and harmless; all else of that kind is for admins.
const harmless: ReadonlySet<string> = new Set(['command', 'echo', 'lolwut', 'ping', 'time'])
const harmlessContainers: ReadonlySet<string> = new Set(['command', 'object', 'pubsub', 'xinfo'])
const publishing: ReadonlySet<string> = new Set(['publish', 'spublish'])
const streamReaders: ReadonlySet<string> = new Set(['xread', 'xreadgroup'])
const wellFormed = /^[a-z][a-z0-9._-]{0,63}$/

/**
 * Throws unless this caller may run this command: `DB_READ_ONLY` for a write by one who may only read, `DB_UNSUPPORTED` for what runs
 * for nobody or is unknown to the server, `FORBIDDEN` where the role is too small.
 */
export function assertMayRun(
  table: CommandTable,
  command: readonly (string | Uint8Array)[],
  caller: Caller,
): Classified {
  const found = classify(table, command)
  if (found.writes && (caller.readOnly || caller.role === 'read'))
    throw new ApiError(
      'DB_READ_ONLY',
      `${found.name.toUpperCase()} writes, and this caller may only read this database.`,
    )
  const needed = neededRole(found, caller)
  if (roles.indexOf(caller.role) < roles.indexOf(needed))
    throw new ApiError('FORBIDDEN', `${found.name.toUpperCase()} needs the role ${needed}.`)
  return found
}

/** What a command is, by the server's metadata; the fixed set of what runs for nobody beats it. Throws `DB_UNSUPPORTED`. */
export function classify(table: CommandTable, command: readonly (string | Uint8Array)[]): Classified {
  const [first = '', second = ''] = command.map(textOf)
  const name = first.toLowerCase()
  const info = wellFormed.test(name) ? table.get(name) : undefined
  if (info === undefined) throw refused('This Redis has no such command')
  const isContainer = info.subcommands.size > 0
  const part = second.toLowerCase()
  const full = isContainer || denied.has(name) ? `${name} ${part}` : name
  if ((denied.has(name) && !allowedParts.has(full)) || deniedParts.has(`${name} ${part}`))
    throw refused(`${name.toUpperCase()} does not run here`)
  const own = isContainer ? info.subcommands.get(part) : info
  // COMMAND alone lists the commands; the other containers do nothing by themselves.
  if (own === undefined && command.length > 1) throw refused('This Redis has no such sub-command')
  if (isBlocking(name, own ?? info, command)) throw refused(`${name.toUpperCase()} would hold up everybody else`)
  return { name: own === undefined || !isContainer ? name : full, ...kindOf(name, own ?? info) }
}

function kindOf(name: string, { flags, categories }: CommandInfo): Pick<Classified, 'class' | 'writes'> {
  const reads = flags.has('readonly')
  if (categories.has('@scripting')) return { class: 'script', writes: !reads }
  if (flags.has('admin') || categories.has('@admin')) return { class: 'admin', writes: !reads }
  if (categories.has('@dangerous')) return { class: 'dangerous', writes: !reads && name !== 'info' }
  if (flags.has('write') || publishing.has(name)) return { class: 'write', writes: true }
  if (reads || harmless.has(name) || harmlessContainers.has(name)) return { class: 'read', writes: false }
  return { class: 'admin', writes: true }
}

function neededRole({ class: kind, writes }: Classified, { allowScripts }: Caller): Role {
  if (kind === 'script') return allowScripts ? 'write' : 'admin'
  if (kind === 'dangerous' || kind === 'admin') return 'admin'
  return writes ? 'write' : 'read'
}

// XREAD is flagged for what it does with BLOCK alone, which stands before STREAMS; a group may have that name too, so the last one counts.
function isBlocking(
  name: string,
  { flags, categories }: CommandInfo,
  command: readonly (string | Uint8Array)[],
): boolean {
  if (!flags.has('blocking') && !categories.has('@blocking')) return false
  if (!streamReaders.has(name)) return true
  const words = command.map((word) => textOf(word).toLowerCase())
  const streams = words.lastIndexOf('streams')
  return words.slice(0, streams === -1 ? undefined : streams).includes('block')
}

function refused(reason: string): ApiError {
  return new ApiError('DB_UNSUPPORTED', `${reason}.`)
}

function textOf(word: string | Uint8Array): string {
  return typeof word === 'string' ? word : Buffer.from(word).toString('latin1')
}
