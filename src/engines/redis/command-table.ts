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

/** Reads the reply of `COMMAND`; entries that are none are left out, so that their commands are unknown. */
export function readCommandTable(reply: unknown): CommandTable {
  const table = new Map<string, CommandInfo>()
  for (const entry of listOf(reply)) {
    const [name, , flags, , , , categories, , , subcommands] = listOf(entry)
    const key = textOf(name)
    if (key === '') continue
    table.set(key.slice(key.indexOf('|') + 1), {
      flags: new Set(listOf(flags).map(textOf)),
      categories: new Set(listOf(categories).map(textOf)),
      subcommands: readCommandTable(subcommands),
    })
  }
  return table
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function textOf(value: unknown): string {
  return typeof value === 'string' || value instanceof Buffer ? value.toString('latin1' as never).toLowerCase() : ''
}
