import { networkInterfaces } from 'node:os'
import ipaddr from 'ipaddr.js'

/** One entry of `EGRESS_ALLOW` or `EGRESS_DENY`: a CIDR range, an address or a host suffix, each with an optional `:port`. */
export interface EgressRule {
  readonly range?: readonly [ipaddr.IPv4 | ipaddr.IPv6, number]
  /** Lower case; matches the host itself and every name below it. */
  readonly suffix?: string
  readonly port?: number
}

export interface EgressPolicy {
  readonly allow: readonly EgressRule[]
  readonly deny: readonly EgressRule[]
  /** Production refuses loopback unless `allow` names it. */
  readonly loopbackAllowed: boolean
  /** Suffixes `+srv` names may lie under. */
  readonly srvSuffixes: readonly string[]
  /** This server's own listening port, set once it listens; its sockets are never dialled. */
  ownPort: number | undefined
}

const alwaysRefused: readonly (readonly [string, string])[] = [
  ['0.0.0.0/8', 'an unspecified address'],
  ['169.254.0.0/16', 'a link-local address'],
  ['224.0.0.0/4', 'a multicast address'],
  ['255.255.255.255/32', 'the broadcast address'],
  ['::/128', 'an unspecified address'],
  ['fe80::/10', 'a link-local address'],
  ['ff00::/8', 'a multicast address'],
  ['fd00:ec2::254/128', 'a metadata address'],
  ['168.63.129.16/32', 'a metadata address'],
  ['100.100.100.200/32', 'a metadata address'],
  ['192.0.0.192/32', 'a metadata address'],
  ['2001::/32', 'a tunnel address'],
]
const embeddingPrefixes = ['64:ff9b::/96', '64:ff9b:1::/48', '::ffff:0:0:0/96'].map((cidr) => ipaddr.parseCIDR(cidr))
const refusedRanges = alwaysRefused.map(([cidr, what]) => ({ range: ipaddr.parseCIDR(cidr), what }))

/** Reads one rule: `10.0.0.0/8`, `127.0.0.1:6379`, `[::1]:6379`, `.railway.internal`, `*:5432`. Answers a problem as a sentence. */
export function parseEgressRule(text: string): EgressRule | { readonly problem: string } {
  const problem = { problem: `"${text}" is not a CIDR range, an address or a host suffix` }
  const match = /^(\[[^\]]+\](?:\/\d+)?|[^:]+|[0-9a-f:]+(?:\/\d+)?)(?::(\d{1,5}))?$/i.exec(text)
  const place = match?.[1]?.replace(/[[\]]/g, '')
  if (!place || Number(match?.[2] ?? 0) > 65_535) return problem
  const port = match?.[2] === undefined ? {} : { port: Number(match[2]) }
  if (place === '*') return port
  const address = place.replace(/\/\d+$/, '')
  // `10.0.0` is 10.0.0.0 to some parsers and 10.0.0.0/24 to people, so only four parts are taken.
  if (ipaddr.IPv4.isValidFourPartDecimal(address) || ipaddr.IPv6.isValid(address)) {
    if (ipaddr.isValidCIDR(place)) return { range: ipaddr.parseCIDR(place), ...port }
    if (!ipaddr.isValid(place)) return problem
    const parsed = ipaddr.parse(place)
    return { range: [parsed, parsed.kind() === 'ipv4' ? 32 : 128], ...port }
  }
  if (/^[.*]*[a-z0-9_-][a-z0-9_.-]*$/i.test(place) && /[a-z]/i.test(place))
    return { suffix: place.toLowerCase().replace(/^[*.]+/, ''), ...port }
  return problem
}

/**
 * Why this resolved address may not be dialled, or `undefined`. Decided on the address, never on the text of the host: `0x7f000001`
 * and `127.1` both resolve to loopback.
 */
export function refusalOf(policy: EgressPolicy, host: string, address: string, port: number): string | undefined {
  const ip = normalise(address)
  if (ip === undefined) return 'it resolves to something that is not an address'
  for (const { range, what } of refusedRanges) if (within(ip, range)) return `it resolves to ${what}`
  if (policy.ownPort === port && isOwn(ip)) return 'it is this server itself'
  if (policy.deny.some((rule) => matches(rule, host, ip, port))) return 'EGRESS_DENY names it'
  const allowed = policy.allow.some((rule) => matches(rule, host, ip, port))
  if (allowed) return undefined
  if (policy.allow.length > 0) return 'EGRESS_ALLOW does not name it'
  if (ip.range() === 'loopback' && !policy.loopbackAllowed)
    return 'it resolves to a loopback address, which EGRESS_ALLOW would have to name'
  return undefined
}

// An IPv4 address has several IPv6 spellings that reach the same host: v4-mapped, v4-compatible, v4-translated (RFC 2765), NAT64
// (RFC 6052, RFC 8215), 6to4 (RFC 3056).
function normalise(address: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  if (!ipaddr.isValid(address)) return undefined
  const ip = ipaddr.process(address)
  if (ip.kind() === 'ipv4') return ip
  const bytes = ip.toByteArray()
  const embedded = (from: number) => new ipaddr.IPv4(bytes.slice(from, from + 4))
  for (const prefix of embeddingPrefixes) if (within(ip, prefix)) return embedded(12)
  if (within(ip, ipaddr.parseCIDR('2002::/16'))) return embedded(2)
  const compatible = bytes.slice(0, 12).every((byte) => byte === 0) && bytes[12] !== 0
  return compatible ? embedded(12) : ip
}

function within(ip: ipaddr.IPv4 | ipaddr.IPv6, range: readonly [ipaddr.IPv4 | ipaddr.IPv6, number]): boolean {
  return ip.kind() === range[0].kind() && ip.match(range[0], range[1])
}

function matches(rule: EgressRule, host: string, ip: ipaddr.IPv4 | ipaddr.IPv6, port: number): boolean {
  if (rule.port !== undefined && rule.port !== port) return false
  if (rule.range) return within(ip, rule.range)
  if (rule.suffix === undefined) return true
  const name = host.replace(/\.$/, '')
  return name === rule.suffix || name.endsWith(`.${rule.suffix}`)
}

function isOwn(ip: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  if (ip.range() === 'loopback') return true
  const text = ip.toString()
  const own = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  return own.some((entry) => normalise(entry.address)?.toString() === text)
}
