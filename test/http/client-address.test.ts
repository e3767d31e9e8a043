import { describe, expect, test } from 'bun:test'
import type { Server } from 'bun'
import { loadConfig } from '#src/config.ts'
import { addressKey, clientAddress, parseAddressRange } from '#src/http/client-address.ts'

/** Asks a real server on loopback, which answers whom it takes the caller for. */
async function seenAs(trustProxy: string, forwarded?: string | readonly string[], hostname = '127.0.0.1') {
  const trusted = loadConfig({ TRUST_PROXY: trustProxy }).TRUST_PROXY
  using server = Bun.serve({
    port: 0,
    hostname,
    fetch: (request, self: Server<unknown>) => new Response(clientAddress(request, self, trusted)),
  })
  const headers = new Headers()
  for (const value of [forwarded ?? []].flat()) headers.append('x-forwarded-for', value)
  const host = hostname === '::1' ? '[::1]' : '127.0.0.1'
  return (await fetch(`http://${host}:${server.port}/`, { headers })).text()
}

describe('the address of a caller', () => {
  test('is the peer, whatever it says of itself, unless the peer is a trusted proxy', async () => {
    const claims = ['203.0.113.7', '127.0.0.1, 203.0.113.7', '203.0.113.7, 127.0.0.1', 'garbage']
    for (const claim of claims) expect(await seenAs('', claim)).toBe('127.0.0.1')
    for (const claim of claims) expect(await seenAs('10.0.0.0/8,::1', claim)).toBe('127.0.0.1')
  })

  const forwarded: readonly (readonly [string, string | readonly string[], string])[] = [
    ['one hop', '203.0.113.7', '203.0.113.7'],
    ['the right of two: the left is a claim', '198.51.100.1, 203.0.113.7', '203.0.113.7'],
    ['past trusted hops', '198.51.100.1, 203.0.113.7, 10.1.2.3, 10.9.9.9', '203.0.113.7'],
    ['several headers are one list', ['198.51.100.1', '203.0.113.7', '10.1.2.3'], '203.0.113.7'],
    ['trusted hops alone: the farthest', '10.0.0.1, 10.0.0.2', '10.0.0.1'],
    ['a forged trusted hop left of an unknown one', '127.0.0.1, 10.0.0.1, 203.0.113.7', '203.0.113.7'],
    ['with a port', '203.0.113.7:4711', '203.0.113.7'],
    ['IPv6', '2001:DB8:0:0::7', '2001:db8::7'],
    ['IPv6 with a port', '[2001:db8::7]:4711', '2001:db8::7'],
    ['IPv6 in brackets', '[2001:db8::7]', '2001:db8::7'],
    ['IPv4 as IPv6', '::ffff:203.0.113.7', '203.0.113.7'],
    ['IPv4 as IPv6 in hexadecimal', '::FFFF:cb00:7107', '203.0.113.7'],
    ['a trusted hop written as IPv6', '203.0.113.7, ::ffff:10.1.2.3', '203.0.113.7'],
    ['garbage: the peer', 'garbage', '127.0.0.1'],
    ['nothing: the peer', '', '127.0.0.1'],
    ['empty hops: the peer', '203.0.113.7, , ', '127.0.0.1'],
    ['garbage right of an address: the peer', '203.0.113.7, unknown', '127.0.0.1'],
    ['garbage left of a trusted hop: that hop', 'garbage, 10.0.0.1', '10.0.0.1'],
    ['an octet over 255', '203.0.113.256', '127.0.0.1'],
    ['an octal octet', '010.0.0.1', '127.0.0.1'],
    ['an address of one number', '3405803783', '127.0.0.1'],
    ['a hexadecimal address', '0xcb007107', '127.0.0.1'],
    ['a name', 'localhost', '127.0.0.1'],
    ['a script', '<script>', '127.0.0.1'],
  ]
  for (const [name, header, expected] of forwarded) {
    test(`behind a trusted proxy: ${name}`, async () => {
      expect(await seenAs('127.0.0.1,10.0.0.0/8', header)).toBe(expected)
    })
  }

  test('is not known without a server', () => {
    const request = new Request('http://localhost/', { headers: { 'x-forwarded-for': '203.0.113.7' } })
    expect(clientAddress(request, undefined, loadConfig({ TRUST_PROXY: '0.0.0.0/0,::/0' }).TRUST_PROXY)).toBe('unknown')
  })

  test('is IPv4 on a socket of both families, where the kernel says ::ffff:127.0.0.1', async () => {
    expect(await seenAs('', undefined, '::')).toBe('127.0.0.1')
    expect(await seenAs('127.0.0.0/8', '203.0.113.7', '::')).toBe('203.0.113.7')
  })
})

describe('TRUST_PROXY', () => {
  const valid: readonly (readonly [string, string])[] = [
    ['10.0.0.1', '10.0.0.1/32'],
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['::1', '::1/128'],
    ['fd00::/8', 'fd00::/8'],
    ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
    ['::ffff:10.0.0.1', '10.0.0.1/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
  ]
  test('takes addresses and ranges', () => {
    expect(valid.map(([text]) => parseAddressRange(text)?.join('/'))).toEqual(valid.map(([, range]) => range))
  })

  for (const entry of [
    '10.0.0.0/33',
    '10.0.0',
    'fd00::/129',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    'proxy',
    '::ffff:1.2.3.4/95',
    '10.0.0.0/-1',
    '1',
  ]) {
    test(`refuses ${entry}`, () => {
      expect(() => loadConfig({ TRUST_PROXY: `10.0.0.1,${entry}` })).toThrow('TRUST_PROXY')
    })
  }
})

describe('what an address is counted by', () => {
  test('IPv4 whole, IPv6 by its /64, IPv4 in IPv6 as IPv4, the rest together', () => {
    const addresses = ['192.0.2.1', '::ffff:192.0.2.1', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::', 'unknown', '']
    expect(addresses.map((address) => addressKey(address))).toEqual([
      '192.0.2.1',
      '192.0.2.1',
      '2001:db8:1:2::/64',
      '2001:db8:1:2::/64',
      'unknown',
      'unknown',
    ])
  })
})
