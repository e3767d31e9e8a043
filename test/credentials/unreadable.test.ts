import { beforeAll, describe, expect, test } from 'bun:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { createKeyring, type Keyring } from '#src/credentials/keyring.ts'
import { openValue, sealValue, type Place } from '#src/credentials/sealed.ts'
import { ApiError } from '#src/errors.ts'
import { nonce, one, place, plaintext, two, vectors } from './vectors.ts'

let ring: Keyring
beforeAll(async () => {
  ring = await createKeyring({ current: one, previous: [two] })
})

async function refusal(sealed: string, at = place, by = ring): Promise<ApiError> {
  const error = await openValue(by, at, sealed).then(
    () => new Error('opened'),
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof ApiError)) throw error
  return error
}

async function codesOf(texts: readonly string[], at = place): Promise<readonly string[]> {
  const codes = await Promise.all(texts.map(async (text) => (await refusal(text, at)).code))
  return [...new Set(codes)]
}

describe('424 DB_CREDENTIALS_UNREADABLE', () => {
  const sealed = vectors[0][1]

  test('another row, field or tenant', async () => {
    const other = '33333333-3333-4333-8333-333333333333'
    const places: readonly Place[] = [
      { ...place, databaseId: other },
      { ...place, projectId: other },
      { ...place, field: 'replica_connection_string' },
      { ...place, projectId: place.databaseId, databaseId: place.projectId },
      { ...place, projectId: '', databaseId: '' },
      { ...place, projectId: `${place.projectId}|${place.databaseId}`, databaseId: '' },
    ]
    const errors = await Promise.all(places.map((at) => refusal(sealed, at)))
    expect(new Set(errors.map((error) => `${error.status} ${error.code}`))).toEqual(
      new Set(['424 DB_CREDENTIALS_UNREADABLE']),
    )
  })

  test('every single flipped bit of the nonce, the ciphertext and the tag', async () => {
    const [, , kid, nonceText = '', bodyText = ''] = sealed.split(':')
    const flipped = (text: string) => {
      const bytes = Buffer.from(text, 'base64url')
      return Array.from({ length: bytes.length * 8 }, (_, bit) => {
        const copy = Buffer.from(bytes)
        copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        return copy.toString('base64url')
      })
    }
    expect(
      await codesOf([
        ...flipped(nonceText).map((text) => `enc:v1:${kid}:${text}:${bodyText}`),
        ...flipped(bodyText).map((text) => `enc:v1:${kid}:${nonceText}:${text}`),
      ]),
    ).toEqual(['DB_CREDENTIALS_UNREADABLE'])
  })

  test('every single flipped bit of the text', async () => {
    const texts = Array.from({ length: sealed.length * 8 }, (_, bit) => {
      const bytes = Buffer.from(sealed, 'latin1')
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      return bytes.toString('latin1')
    })
    expect(await codesOf(texts)).toEqual(['DB_CREDENTIALS_UNREADABLE'])
  })

  test('another key id, known or not, and another nonce', async () => {
    const otherNonce = await sealValue(ring.current(), place, plaintext)
    expect(
      await codesOf([
        sealed.replace('7828f4c4', '9bb695a6'),
        sealed.replace('7828f4c4', '00000000'),
        sealed.replace('AAECAwQFBgcICQoL', otherNonce.split(':')[3] ?? ''),
      ]),
    ).toEqual(['DB_CREDENTIALS_UNREADABLE'])
  })

  test('a tag cut to 96 bits, which a decryptor that asks for 96 would accept', async () => {
    const cut = Buffer.from(sealed.split(':')[4] ?? '', 'base64url').subarray(0, -4)
    const text = `enc:v1:7828f4c4:AAECAwQFBgcICQoL:${cut.toString('base64url')}`
    const additionalData = Buffer.from(`v1|7828f4c4|${place.projectId}|${place.databaseId}|${place.field}`)
    const accepted = await crypto.subtle.decrypt(
      { name: 'AES-GCM', iv: nonce, additionalData, tagLength: 96 },
      ring.current().aes,
      cut,
    )
    expect({ accepted: Buffer.from(accepted).toString(), ours: await codesOf([text]) }).toEqual({
      accepted: plaintext,
      ours: ['DB_CREDENTIALS_UNREADABLE'],
    })
  })

  test('anything malformed, legacy or plain, which never comes back as it is', async () => {
    expect(
      await codesOf([
        '',
        plaintext,
        'U2FsdGVkX18BAgMEBQYHCBm0xw1u9+Mx+ufbmxHS3bxY1V4c6DbfHpcWKPcfUwnJ',
        'enc:',
        'enc:v1:',
        sealed.replace('v1', 'v2'),
        sealed.toUpperCase(),
        ` ${sealed}`,
        `${sealed}\n`,
        `${sealed}=`,
        `${sealed}:`,
        sealed.slice(0, -1),
        'enc:v1:7828f4c4:AAECAwQFBgcICQoL:',
        'enc:v1:7828f4c4:AAECAwQFBgcICQoL:AAAA',
      ]),
    ).toEqual(['DB_CREDENTIALS_UNREADABLE'])
    await fc.assert(
      fc.asyncProperty(fc.string(), async (text) => {
        expect(await codesOf([text, `enc:${text}`, `enc:v1:7828f4c4:AAECAwQFBgcICQoL:${text}`])).toEqual([
          'DB_CREDENTIALS_UNREADABLE',
        ])
      }),
    )
  })

  test('a sealed text that is not UTF-8', async () => {
    const additionalData = Buffer.from(`v1|7828f4c4|${place.projectId}|${place.databaseId}|${place.field}`)
    const algorithm = { name: 'AES-GCM', iv: nonce, additionalData, tagLength: 128 }
    const body = await crypto.subtle.encrypt(algorithm, ring.current().aes, Uint8Array.of(0xff, 0xfe))
    expect(await codesOf([`enc:v1:7828f4c4:AAECAwQFBgcICQoL:${Buffer.from(body).toString('base64url')}`])).toEqual([
      'DB_CREDENTIALS_UNREADABLE',
    ])
  })

  test('the sentence says what to do', async () => {
    const stranger = await createKeyring({ current: new Uint8Array(32).fill(0x44) })
    expect({
      unknownKey: (await refusal(sealed, place, stranger)).message,
      plain: (await refusal(plaintext)).message,
      damaged: (await refusal('enc:v1:')).message,
      changed: (await refusal(sealed, { ...place, field: 'other' })).message,
    }).toEqual({
      unknownKey: expect.stringMatching(/7828f4c4.*MULTI_DB_CRYPTO_KEY_PREVIOUS/),
      plain: expect.stringContaining('`bun run rewrap`'),
      damaged: expect.stringContaining('store them again'),
      changed: expect.stringMatching(/7828f4c4.*store them again/),
    })
  })

  test('no error shows plaintext, key or stored text', async () => {
    const stranger = await createKeyring({ current: new Uint8Array(32).fill(0x44) })
    const errors = await Promise.all([
      refusal(plaintext),
      refusal(`enc:${plaintext}`),
      refusal(sealed, { ...place, field: 'other' }),
      refusal(sealed, place, stranger),
      refusal(`${sealed.slice(0, -1)}Q`),
    ])
    const texts = errors.flatMap((error) => [
      error.message,
      JSON.stringify(error),
      JSON.stringify(error.toBody('r')),
      inspect(error, { depth: null }),
    ])
    const secrets = [plaintext, 'u:p@h', sealed.slice(33), '11'.repeat(32), Buffer.from(one).toString('base64url')]
    expect(texts.filter((text) => secrets.some((secret) => text.includes(secret)))).toEqual([])
  })
})
