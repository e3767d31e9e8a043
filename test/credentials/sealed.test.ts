import { beforeAll, describe, expect, test } from 'bun:test'
import { createDecipheriv, hkdfSync } from 'node:crypto'
import fc from 'fast-check'
import { createKeyring, type Keyring } from '#src/credentials/keyring.ts'
import {
  isSealed,
  openValue,
  opensCanary,
  parseSealed,
  sealCanary,
  sealValue,
  sealWithNonce,
  type Place,
} from '#src/credentials/sealed.ts'
import { nonce, one, place, plaintext, two, vectors } from './vectors.ts'

let ring: Keyring
beforeAll(async () => {
  ring = await createKeyring({ current: one, previous: [two] })
})

/** Opens by node:crypto alone, from the raw key. */
function openWithNode(raw: Uint8Array, at: Place, sealed: string): string {
  const [, , kid = '', nonceText = '', bodyText = ''] = sealed.split(':')
  const key = Buffer.from(hkdfSync('sha256', raw, 'bun-api', 'credentials/v1', 32))
  const body = Buffer.from(bodyText, 'base64url')
  const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonceText, 'base64url'), { authTagLength: 16 })
  decipher.setAAD(Buffer.from(`v1|${kid}|${at.projectId}|${at.databaseId}|${at.field}`))
  decipher.setAuthTag(body.subarray(-16))
  return Buffer.concat([decipher.update(body.subarray(0, -16)), decipher.final()]).toString()
}

describe('the published vectors', () => {
  test.each(vectors)('seal and open exactly: %#', async (raw, sealed) => {
    const own = await createKeyring({ current: raw })
    expect({
      sealed: await sealWithNonce(own.current(), place, plaintext, nonce),
      opened: await openValue(own, place, sealed),
      node: openWithNode(raw, place, sealed),
    }).toEqual({ sealed, opened: plaintext, node: plaintext })
  })
})

describe('sealValue and openValue', () => {
  test('round-trip any text, and node:crypto agrees', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
        const sealed = await sealValue(ring.current(), place, text)
        expect({ opened: await openValue(ring, place, sealed), node: openWithNode(one, place, sealed) }).toEqual({
          opened: text,
          node: text,
        })
      }),
    )
  })

  test.each(['', '\u{feff}postgresql://h/db', 'a\0b', '🗝️ пароль', 'x'.repeat(100_000)])('keep %.20j', async (text) => {
    expect(await openValue(ring, place, await sealValue(ring.current(), place, text))).toBe(text)
  })

  test('400 text that UTF-8 would change', async () => {
    const error = await sealValue(ring.current(), place, 'redis://\ud800@h').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'VALIDATION_FAILED', status: 400 })
  })

  test('refuse a place that could be read as another', async () => {
    const joined = { ...place, databaseId: `${place.databaseId}|x` }
    expect(await sealValue(ring.current(), joined, plaintext).catch((thrown: unknown) => thrown)).toBeInstanceOf(
      TypeError,
    )
  })

  test('no two values share a nonce', async () => {
    const sealed = await Promise.all(Array.from({ length: 1000 }, () => sealValue(ring.current(), place, plaintext)))
    expect(new Set(sealed.map((text) => text.split(':')[3])).size).toBe(1000)
  })

  test('the current key seals, previous and engine keys open', async () => {
    const engine = new Uint8Array(32).fill(0x33)
    const later = await createKeyring({ current: two, previous: [one], engines: { redis: engine } })
    const old = await sealValue(ring.current(), place, plaintext)
    const own = await sealValue(later.current('redis'), place, plaintext)
    expect({
      old: await openValue(later, place, old),
      own: await openValue(later, place, own),
      node: openWithNode(engine, place, own),
      current: parseSealed(await sealValue(later.current(), place, plaintext))?.kid,
    }).toEqual({ old: plaintext, own: plaintext, node: plaintext, current: '9bb695a6' })
  })
})

describe('parseSealed and isSealed', () => {
  test('parts of a vector', () => {
    expect(parseSealed(vectors[0][1])).toEqual({
      kid: '7828f4c4',
      nonce,
      body: Uint8Array.from(Buffer.from('UJwG5Tjxq1bhdXclY9XwvvBiZk3k2YeKhhwq-bH6YG20kSftpbbd-ndP', 'base64url')),
    })
  })

  test('only the canonical spelling parses', async () => {
    const sealed = await sealValue(ring.current(), place, 'a')
    const last = sealed.at(-1) ?? ''
    const others = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].filter((c) => c !== last)
    const body = parseSealed(sealed)?.body
    const sameBytes = others.filter((c) => Buffer.from(sealed.slice(33, -1) + c, 'base64url').equals(body ?? nonce))
    expect(sealed.slice(0, 33)).toEndWith(':')
    expect(sameBytes).toHaveLength(3)
    expect(sameBytes.filter((c) => parseSealed(sealed.slice(0, -1) + c))).toEqual([])
  })

  test('every version of enc: claims to be sealed, nothing else does', () => {
    expect(
      [vectors[0][1], 'enc:v2:x', 'enc:', plaintext, 'U2FsdGVkX18BAgMEBQYHCA', '', 'ENC:v1'].map(isSealed),
    ).toEqual([true, true, true, false, false, false, false])
  })
})

describe('canaries', () => {
  test('open with the key that sealed them, and with no other', async () => {
    const [key, other] = [ring.current(), ring.byKid('9bb695a6')]
    if (!other) throw new Error('no second key')
    const canary = await sealCanary(key)
    expect(
      await Promise.all([
        opensCanary(key, canary),
        opensCanary(other, canary),
        opensCanary({ ...other, kid: key.kid }, canary),
        opensCanary(key, await sealCanary(other)),
        opensCanary(key, canary.replace(key.kid, other.kid)),
      ]),
    ).toEqual([true, false, false, false, false])
  })

  test('false for text that is no canary', async () => {
    const key = ring.current()
    const canaryPlace = { projectId: '', databaseId: '', field: 'canary' }
    const texts = ['', plaintext, vectors[0][1], 'enc:v1:', await sealValue(key, canaryPlace, 'something else')]
    expect(await Promise.all(texts.map((text) => opensCanary(key, text)))).toEqual(texts.map(() => false))
  })
})
