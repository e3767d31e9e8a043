import type { Server } from 'bun'
import ipaddr from 'ipaddr.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6

/** Addresses of proxies whose `X-Forwarded-For` is believed. */
export type AddressRange = readonly [Address, number]

/** The address of a caller that has none: the socket is gone already, or there never was one. */
export const unknownAddress = 'unknown'

const ipv4MappedBits = 96

/** Reads an entry of `TRUST_PROXY`, an address or a CIDR range; `undefined` for anything else. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [address = '', bits, ...rest] = text.split('/')
  const parsed = parseAddress(address)
  if (parsed === undefined || rest.length > 0) return undefined
  const widest = parsed.kind() === 'ipv4' ? 32 : 128
  if (bits === undefined) return [parsed, widest]
  // The length of a mapped range is written as IPv6 counts it: ::ffff:10.0.0.0/104 is 10.0.0.0/8.
  const mapped = address.includes(':') && parsed.kind() === 'ipv4'
  const length = /^\d{1,3}$/.test(bits) ? Number(bits) - (mapped ? ipv4MappedBits : 0) : -1
  return length >= 0 && length <= widest ? [parsed, length] : undefined
}

/**
 * The address of whoever asked, in its one spelling. `X-Forwarded-For` is read only where the peer is a trusted proxy, and from the right:
 * every hop adds its own peer there, so what stands left of the first hop we do not know is that hop's own claim.
 */
export function clientAddress(
  request: Request,
  server: Server<unknown> | undefined,
  trusted: readonly AddressRange[],
): string {
  const peer = parseAddress(server?.requestIP(request)?.address ?? '')
  if (peer === undefined) return unknownAddress
  if (trusted.length === 0 || !isTrusted(peer, trusted)) return peer.toString()
  const hops = (request.headers.get('x-forwarded-for') ?? '').split(',')
  let nearest = peer
  for (let index = hops.length - 1; index >= 0; index--) {
    const hop = parseHop(hops[index] ?? '')
    // What can't be read names nobody, and what stands before it is no better.
    if (hop === undefined) break
    nearest = hop
    if (!isTrusted(hop, trusted)) break
  }
  return nearest.toString()
}

/** What the limits of an address are counted by: IPv4 whole, IPv6 by /64, which is the least that one subscriber is given. */
export function addressKey(address: string): string {
  const parsed = parseAddress(address)
  if (parsed === undefined) return unknownAddress
  if (parsed.kind() === 'ipv4') return parsed.toString()
  const network = parsed.toByteArray().map((byte, index) => (index < 8 ? byte : 0))
  return `${ipaddr.fromByteArray(network).toString()}/64`
}

/** One spelling of an address: an IPv4 address that came as IPv6 (`::ffff:192.0.2.1`) is IPv4. */
function parseAddress(text: string): Address | undefined {
  // Other parsers take `010.1` and `1` for IPv4 addresses, each for another one.
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) && !ipaddr.IPv6.isValid(text)) return undefined
  return ipaddr.process(text)
}

/** A hop as proxies write it: an address, `address:port`, `[address]:port`. */
function parseHop(text: string): Address | undefined {
  const hop = text.trim()
  const withPort = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(hop) ?? /^([\d.]+):\d{1,5}$/.exec(hop)
  return parseAddress(withPort?.[1] ?? hop)
}

function isTrusted(address: Address, trusted: readonly AddressRange[]): boolean {
  return trusted.some(([range, bits]) => range.kind() === address.kind() && address.match(range, bits))
}
