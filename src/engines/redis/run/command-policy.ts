import { ApiError } from '../../../errors.ts'
import { assertBounded } from './command-bounds.ts'
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
  /** Whether the metadata says that it never holds up others, whatever its keys hold. */
  readonly isFast: boolean
}

// They own the connection that all callers share, block it, or lead out of the database; the server's metadata can't allow them.
const denied: ReadonlySet<string> = new Set(
  `acl asking auth bgrewriteaof bgsave client cluster config debug discard exec failover flushall function hello migrate
   module monitor move multi pfdebug pfselftest psubscribe psync punsubscribe quit readonly readwrite replconf replicaof reset
   restore-asking save select shutdown slaveof ssubscribe subscribe sunsubscribe swapdb sync unsubscribe unwatch wait waitaof watch`.split(
    /\s+/,
  ),
)
// Sub-commands that are refused although others of their container are not, and the other way round.
const deniedParts: ReadonlySet<string> = new Set(['script debug', 'script flush'])
const allowedParts: ReadonlySet<string> = new Set([
  'client getname',
  'client id',
  'client info',
  'client list',
  'cluster info',
  'config set',
  'function kill',
  'function list',
  'function stats',
  'module list',
])
// What watching needs; none of them leads out of the database or onto the disk.
const settable: ReadonlySet<string> = new Set([
  'latency-monitor-threshold',
  'notify-keyspace-events',
  'slowlog-log-slower-than',
  'slowlog-max-len',
])
// They end what another caller began, also where scripts are for the role write.
const kills: ReadonlySet<string> = new Set(['function kill', 'script kill'])
// Neither readonly nor write in the metadata, and harmless; all else of that kind is for admins.
const harmless: ReadonlySet<string> = new Set(['command', 'echo', 'lolwut', 'ping', 'time'])
const harmlessContainers: ReadonlySet<string> = new Set(['command', 'object', 'pubsub', 'xinfo'])
const publishing: ReadonlySet<string> = new Set(['publish', 'spublish'])
const streamReaders: ReadonlySet<string> = new Set(['xread', 'xreadgroup'])
const otherDatabase = 'PATCH key copies a key into another logical database'
// Where what is refused here is to be had.
const instead: Readonly<Record<string, string>> = {
  client: 'GET clients lists the connections',
  config: 'GET config reads the settings',
  discard: 'POST transaction runs commands as one',
  exec: 'POST transaction runs commands as one',
  monitor: 'GET monitor watches the commands',
  move: otherDatabase,
  multi: 'POST transaction runs commands as one',
  psubscribe: 'GET pubsub listens to channels',
  select: 'The parameter db names another logical database',
  ssubscribe: 'GET pubsub listens to channels',
  subscribe: 'GET pubsub listens to channels',
  unwatch: 'POST transaction watches keys',
  watch: 'POST transaction watches keys',
}
// Their work is the product of two values, which no argument bounds.
const costly: ReadonlySet<string> = new Set(['lcs', 'stralgo'])
const wellFormed = /^[a-z][a-z0-9._-]{0,63}$/

/**
 * Throws unless this caller may run this command: `DB_READ_ONLY` for a write by one who may only read, `DB_UNSUPPORTED` for what runs
 * for nobody or is unknown to the server, `FORBIDDEN` where the role is too small, `VALIDATION_FAILED` for arguments without bounds.
 */
export function assertMayRun(
  table: CommandTable,
  command: readonly (string | Uint8Array)[],
  caller: Caller,
): Classified {
  const found = classify(table, command)
  assertBounded(command)
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
  const [first = '', second = ''] = command.slice(0, 2).map(textOf)
  const name = first.toLowerCase()
  const info = wellFormed.test(name) ? table.get(name) : undefined
  if (info === undefined) throw refused('This Redis has no such command')
  const isContainer = info.subcommands.size > 0
  const part = second.toLowerCase()
  const full = isContainer || denied.has(name) ? `${name} ${part}` : name
  if ((denied.has(name) && !allowedParts.has(full)) || deniedParts.has(`${name} ${part}`))
    throw refused(`${name.toUpperCase()} does not run here`, instead[name])
  const own = isContainer ? info.subcommands.get(part) : info
  // COMMAND alone lists the commands; the other containers do nothing by themselves.
  if (own === undefined && command.length > 1) throw refused('This Redis has no such sub-command')
  if (full === 'config set' && !isSettable(command))
    throw refused('CONFIG SET of this does not run here', instead['config'])
  if (name === 'copy' && command.slice(3).some((word) => textOf(word).toLowerCase() === 'db'))
    throw refused('COPY with DB does not run here', otherDatabase)
  if (ownsConnection(name, full, own ?? info)) throw refused(`${name.toUpperCase()} does not run here`)
  if (isBlocking(name, own ?? info, command))
    throw refused(
      `${name.toUpperCase()} would hold up everybody else`,
      streamReaders.has(name) ? 'GET streams/tail waits for entries' : undefined,
    )
  return {
    name: own === undefined || !isContainer ? name : full,
    ...kindOf(name, part, own ?? info),
    isFast: (own ?? info).flags.has('fast'),
  }
}

function kindOf(name: string, part: string, { flags, categories }: CommandInfo): Pick<Classified, 'class' | 'writes'> {
  const reads = flags.has('readonly')
  if (kills.has(`${name} ${part}`)) return { class: 'admin', writes: true }
  if (name === 'module') return { class: 'admin', writes: false }
  if (categories.has('@scripting')) return { class: 'script', writes: !reads }
  if (flags.has('admin') || categories.has('@admin')) return { class: 'admin', writes: !reads }
  if (categories.has('@dangerous') || costly.has(name)) return { class: 'dangerous', writes: !reads && name !== 'info' }
  if (flags.has('write') || publishing.has(name)) return { class: 'write', writes: true }
  if (reads || harmless.has(name) || harmlessContainers.has(name)) return { class: 'read', writes: false }
  return { class: 'admin', writes: true }
}

function neededRole({ class: kind, writes }: Classified, { allowScripts }: Caller): Role {
  if (kind === 'script') return allowScripts ? 'write' : 'admin'
  if (kind === 'dangerous' || kind === 'admin') return 'admin'
  return writes ? 'write' : 'read'
}

// Each setting stands before its value.
function isSettable(command: readonly (string | Uint8Array)[]): boolean {
  return command.slice(2).every((word, index) => index % 2 === 1 || settable.has(textOf(word).toLowerCase()))
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

// What the fixed set can not know, of later servers and of modules.
function ownsConnection(name: string, full: string, { flags, categories }: CommandInfo): boolean {
  if (harmless.has(name) || harmlessContainers.has(name) || allowedParts.has(full)) return false
  if (categories.has('@connection') || categories.has('@transaction')) return true
  return !publishing.has(name) && (flags.has('pubsub') || categories.has('@pubsub'))
}

function refused(reason: string, hint?: string): ApiError {
  return new ApiError('DB_UNSUPPORTED', hint === undefined ? `${reason}.` : `${reason}. ${hint}.`)
}

function textOf(word: string | Uint8Array): string {
  return typeof word === 'string' ? word : Buffer.from(word).toString('latin1')
}
