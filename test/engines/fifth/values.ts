import type { ServerInfo } from '#src/engines/engine.ts'

/** The `STAT name value` lines of a reply, by name. */
export function parseStats(reply: string): ReadonlyMap<string, string> {
  return new Map([...reply.matchAll(/^STAT (\S+) (.*)\r$/gm)].map(([, name = '', value = '']) => [name, value]))
}

export function infoOf(stats: ReadonlyMap<string, string>): ServerInfo {
  const number = (name: string) => (stats.has(name) ? Number(stats.get(name)) : null)
  return {
    product: 'memcached',
    version: stats.get('version') ?? '',
    uptime_seconds: number('uptime'),
    size_bytes: number('bytes'),
    role: 'standalone',
    engine: { items: number('curr_items'), max_bytes: number('limit_maxbytes') },
    warnings: [],
  }
}

/** The value of a `get` reply with one `VALUE` block, as UTF-8; `undefined` when the key is not there. */
export function valueOf(reply: string): string | undefined {
  const [header, length] = /^VALUE \S+ \d+ (\d+)\r\n/.exec(reply) ?? []
  if (header === undefined) return undefined
  return Buffer.from(reply.slice(header.length, header.length + Number(length)), 'latin1').toString('utf8')
}
