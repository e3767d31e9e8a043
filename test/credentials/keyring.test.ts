import { describe, expect, test } from 'bun:test'
import { createHmac, hkdfSync } from 'node:crypto'
import { inspect } from 'node:util'
import { createKeyring } from '#src/credentials/keyring.ts'

const one = new Uint8Array(32).fill(0x11)
const two = new Uint8Array(32).fill(0x22)
const three = new Uint8Array(32).fill(0x33)

/** Two keys with the same id, found by counting; one pair in 2^32 is. */
const collidingKeys = [34_929, 94_257].map((n) => {
  const key = Buffer.alloc(32)
  key.writeUInt32BE(n, 28)
  return Uint8Array.from(key)
}) as [Uint8Array, Uint8Array]

/** The MAC by node:crypto alone, from the raw key. */
function macOf(raw: Uint8Array, purpose: string, data: string): string {
  const root = Buffer.from(hkdfSync('sha256', raw, 'bun-api', 'mac/v1', 32))
  const key = Buffer.from(hkdfSync('sha256', root, 'bun-api', `${purpose}/v1`, 32))
  return createHmac('sha256', key).update(data).digest('base64url')
}

describe('createKeyring', () => {
  test('gives the published key ids', async () => {
    const ring = await createKeyring({ current: one, previous: [two] })
    expect({ kids: ring.kids, current: ring.current().kid }).toEqual({
      kids: ['7828f4c4', '9bb695a6'],
      current: '7828f4c4',
    })
  })

  test('an engine seals with its own key where one is set, else with the current one', async () => {
    const ring = await createKeyring({ current: one, previous: [three], engines: { redis: two } })
    expect({
      redis: ring.current('redis').kid,
      mongodb: ring.current('mongodb').kid,
      none: ring.current().kid,
      found: ring.byKid('9bb695a6')?.kid,
      unknown: ring.byKid('00000000'),
      inherited: ring.current('constructor').kid,
      kids: ring.kids.length,
    }).toEqual({
      redis: '9bb695a6',
      mongodb: '7828f4c4',
      none: '7828f4c4',
      found: '9bb695a6',
      unknown: undefined,
      inherited: '7828f4c4',
      kids: 3,
    })
  })

  test('a key listed twice counts once', async () => {
    const ring = await createKeyring({ current: one, previous: [one, two, two], engines: { redis: two } })
    expect(ring.kids).toEqual(['7828f4c4', '9bb695a6'])
  })

  test('refuses two different keys with one id', async () => {
    const [current, other] = collidingKeys
    expect((await createKeyring({ current })).kids).toEqual((await createKeyring({ current: other })).kids)
    await expect(createKeyring({ current, previous: [other] })).rejects.toThrow('Two different keys')
    await expect(createKeyring({ current, engines: { redis: other } })).rejects.toThrow('Two different keys')
  })

  test.each([0, 16, 31, 33, 64])('refuses a key of %d bytes', async (length) => {
    await expect(createKeyring({ current: new Uint8Array(length) })).rejects.toThrow('exactly 32 bytes')
    await expect(createKeyring({ current: one, previous: [new Uint8Array(length)] })).rejects.toThrow(
      'exactly 32 bytes',
    )
    await expect(createKeyring({ current: one, engines: { redis: new Uint8Array(length) } })).rejects.toThrow(
      'exactly 32',
    )
  })

  test("leaves the caller's bytes alone, and does not need them afterwards", async () => {
    const raw = Uint8Array.from(one)
    const ring = await createKeyring({ current: raw })
    expect(raw).toEqual(one)
    raw.fill(0)
    expect(ring.mac('cursor', 'x')).toBe(macOf(one, 'cursor', 'x'))
  })

  test('gives no key material back', async () => {
    const ring = await createKeyring({ current: one, previous: [two] })
    const { aes } = ring.current()
    expect({ extractable: aes.extractable, usages: [...aes.usages].sort() }).toEqual({
      extractable: false,
      usages: ['decrypt', 'encrypt'],
    })
    for (const format of ['raw', 'jwk'] as const) {
      await expect(crypto.subtle.exportKey(format, aes)).rejects.toThrow()
    }
    const shown = [ring, ring.current()].flatMap((value) => [
      inspect(value, { depth: null, showHidden: true }),
      JSON.stringify(value),
    ])
    const sealing = Buffer.from(hkdfSync('sha256', one, 'bun-api', 'credentials/v1', 32))
    for (const text of shown) {
      for (const secret of [Buffer.from(one), sealing]) {
        for (const form of [
          secret.toString('hex'),
          secret.toString('base64'),
          secret.toString('base64url'),
          [...secret].join(', '),
        ]) {
          expect(text).not.toContain(form)
        }
      }
    }
  })
})

describe('mac', () => {
  test('is HMAC-SHA256 under a key of its purpose, from the current key', async () => {
    const ring = await createKeyring({ current: one, previous: [two], engines: { redis: three } })
    expect([ring.mac('cursor', 'data'), ring.mac('api-key', 'data'), ring.mac('cursor', '')]).toEqual([
      macOf(one, 'cursor', 'data'),
      macOf(one, 'api-key', 'data'),
      macOf(one, 'cursor', ''),
    ])
    expect(ring.mac('cursor', 'data')).not.toBe(ring.mac('api-key', 'data'))
  })

  test('verifies under the current and the previous keys, not under an engine key or a stranger', async () => {
    const ring = await createKeyring({ current: one, previous: [two], engines: { redis: three } })
    const stranger = new Uint8Array(32).fill(0x44)
    expect(
      [one, two, three, stranger].map((raw) => ring.verifyMac('cursor', 'data', macOf(raw, 'cursor', 'data'))),
    ).toEqual([true, true, false, false])
  })

  test('fails for another purpose, other data, and any change of the text', async () => {
    const ring = await createKeyring({ current: one })
    const mac = ring.mac('cursor', 'data')
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const changed = [...mac].flatMap((character, index) =>
      [...alphabet]
        .filter((other) => other !== character)
        .map((other) => mac.slice(0, index) + other + mac.slice(index + 1)),
    )
    expect({
      same: ring.verifyMac('cursor', 'data', mac),
      purpose: ring.verifyMac('api-key', 'data', mac),
      data: ring.verifyMac('cursor', 'data ', mac),
      texts: ['', mac.slice(1), `${mac}=`, `${mac}A`, mac.toLowerCase(), 'é'.repeat(43)].filter((text) =>
        ring.verifyMac('cursor', 'data', text),
      ),
      changed: changed.filter((text) => ring.verifyMac('cursor', 'data', text)),
    }).toEqual({ same: true, purpose: false, data: false, texts: [], changed: [] })
  })
})
