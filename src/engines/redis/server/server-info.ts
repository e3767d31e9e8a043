import type { ServerInfo } from '../../engine.ts'

/** What a server says of itself, from the sections of `INFO`. */
export function infoOf(sections: Record<string, Record<string, string>>): ServerInfo {
  const server = sections['server'] ?? {}
  const memory = sections['memory'] ?? {}
  const number = (text: string | undefined) => (text !== undefined && /^\d+$/.test(text) ? Number(text) : null)
  const valkey = server['valkey_version']
  return {
    product: valkey === undefined ? 'Redis' : 'Valkey',
    version: valkey ?? server['redis_version'] ?? 'unknown',
    uptime_seconds: number(server['uptime_in_seconds']),
    size_bytes: number(memory['used_memory']),
    role: sections['replication']?.['role'] ?? null,
    engine: {
      // Valkey's name of it.
      mode: server['redis_mode'] ?? server['server_mode'] ?? null,
      maxmemory_bytes: number(memory['maxmemory']),
      maxmemory_policy: memory['maxmemory_policy'] ?? null,
      connected_clients: number(sections['clients']?.['connected_clients']),
      keyspace: sections['keyspace'] ?? {},
    },
    warnings: [],
  }
}

/** For an ACL user without the right to `INFO`. */
export const infoWithoutRights: ServerInfo = {
  product: 'Redis',
  version: 'unknown',
  uptime_seconds: null,
  size_bytes: null,
  role: null,
  engine: {},
  warnings: ["The user's ACL does not allow INFO, so version, size and role can not be shown."],
}
