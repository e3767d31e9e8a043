/** What the server's own metadata says of a command (https://redis.io/docs/latest/commands/command/); all in lower case. */
export interface CommandInfo {
  /** `readonly`, `write`, `admin`, `blocking`, … */
  readonly flags: ReadonlySet<string>
  /** ACL categories: `@dangerous`, `@scripting`, … Empty before Redis 6. */
  readonly categories: ReadonlySet<string>
  /** By name; empty where the command is no container, and before Redis 7. */
  readonly subcommands: ReadonlyMap<string, CommandInfo>
}

/** Commands by name, aliases of modules included. */
export type CommandTable = ReadonlyMap<string, CommandInfo>

const maxShared = 2_000
const maxSharedLength = 512
const shared = new Map<string, CommandInfo>()
const none: CommandTable = new Map()

/** Reads the reply of `COMMAND`; entries that are none are left out, so that their commands are unknown. */
export function readCommandTable(reply: unknown): CommandTable {
  const entries = listOf(reply)
  if (entries.length === 0) return none
  const table = new Map<string, CommandInfo>()
  for (const entry of entries) {
    const [name, , flags, , , , categories, , , subcommands] = listOf(entry)
    const key = textOf(name)
    if (key === '') continue
    table.set(
      key.slice(key.indexOf('|') + 1),
      infoOf(listOf(flags).map(textOf), listOf(categories).map(textOf), readCommandTable(subcommands)),
    )
  }
  return table
}

// A server's 370 commands are 110 different ones, and the same on every server: without sharing each session would keep 290 kB.
function infoOf(flags: readonly string[], categories: readonly string[], subcommands: CommandTable): CommandInfo {
  const info = () => ({ flags: new Set(flags), categories: new Set(categories), subcommands })
  if (subcommands.size > 0) return info()
  const key = JSON.stringify([flags, categories])
  const known = shared.get(key)
  if (known !== undefined) return known
  const made = info()
  if (shared.size < maxShared && key.length <= maxSharedLength) shared.set(key, made)
  return made
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function textOf(value: unknown): string {
  return typeof value === 'string' || value instanceof Buffer ? value.toString('latin1' as never).toLowerCase() : ''
}
