import { describe, expect, test } from 'bun:test'
import { isLegacy, openLegacy } from '#src/credentials/legacy.ts'
import { engines } from '#src/engines/index.ts'
import { parseTarget } from '#src/engines/target.ts'
import { sealLegacy } from './crypto-js.ts'

// Published beside the format.
const vectors = [
  ['SAMPLE_KEY', 'postgresql://u:p@h:5432/db', 'U2FsdGVkX18BAgMEBQYHCBm0xw1u9+Mx+ufbmxHS3bxY1V4c6DbfHpcWKPcfUwnJ'],
  [
    'SAMPLE_KEY',
    'postgresql://supabase_admin:postgres@db:5432/postgres',
    'U2FsdGVkX187351A9LR/dy5BMMzIe4Qe4LTvFe6cZCfB3XzzmwVlpO2NZRmaHRZBNBvTVuFxI97xEvmEF8gcZF48g9jVrw1vWRDtXbIm+/0=',
  ],
  [
    '3f9d7c1ab24e58607fd1c2b3a495e6870011223344556677889900aabbccddee',
    'redis://default:p%40ss@redis.railway.internal:6379',
    'U2FsdGVkX1+cMIFXDa5v7rSllnEX7Aa02YonVCC5YW60rLAhfSAm1bEKFIyr7r0qFxSTvDR/Y4nvkHKmtLSU7VYXzDwfnPZQC5/BbR17xpw=',
  ],
  [
    'clé-ünïcode🔑',
    'mongodb://u:пароль@mongodb.railway.internal:27017/app?authSource=admin',
    'U2FsdGVkX1/xlwiMo2X7jmn6IMHxvHkXFhxXOForpAm9/uR7CcJE62U/+pgdA1ZwglR6rXP32QYa8TXZls9nEMRN1DE4+3kSPK70Py7VZf522msMAk28G9EgnN8JCgXu',
  ],
] as const
const [[passphrase, plaintext, sealed]] = vectors

/** Whether any engine would take the text as a connection string. */
function isConnectionString(text: string): boolean {
  return Object.values(engines).some((engine) => {
    try {
      return parseTarget(engine, text, {}).host !== ''
    } catch {
      return false
    }
  })
}

async function openssl(args: readonly string[], key: string, input: string): Promise<string> {
  const child = Bun.spawn(
    ['openssl', 'enc', '-aes-256-cbc', '-md', 'md5', '-base64', '-A', '-pass', 'env:KEY', ...args],
    {
      env: { PATH: process.env['PATH'] ?? '', KEY: key },
      stdin: new Blob([input]),
      stderr: 'ignore',
    },
  )
  return child.stdout.text()
}

describe('crypto-js values', () => {
  for (const [key, text, value] of vectors) {
    test(`opens the published value of ${new URL(text).protocol}// under a passphrase of ${[...key].length} characters`, () => {
      expect([isLegacy(value), openLegacy(key, value)]).toEqual([true, text])
      expect(openLegacy(key, `\n ${value}\r\n`)).toBe(text)
    })
  }

  test('is the format of `openssl enc -md md5`, both ways', async () => {
    for (const [key, text] of vectors) {
      const theirs = await openssl(['-salt'], key, text)
      expect([isLegacy(theirs), openLegacy(key, theirs)]).toEqual([true, text])
      expect(await openssl(['-d'], key, sealLegacy(key, text))).toBe(text)
    }
  })

  test('opens what was sealed, whatever its length and characters', () => {
    for (let length = 1; length <= 64; length++) {
      const text = 'ä🔑\0'.repeat(length).slice(0, length).toWellFormed()
      expect(openLegacy('p', sealLegacy('p', text))).toBe(text)
    }
    for (const text of ['\uFEFFredis://h', ' redis://h ', 'x'.repeat(1_000_000)])
      expect(openLegacy('', sealLegacy('', text))).toBe(text)
  })

  test('a wrong passphrase never gives a connection string, in 4,000 tries', () => {
    let opened = 0
    for (let index = 0; index < 4_000; index++) {
      const text = openLegacy(`wrong-${index}`, sealed)
      if (text === undefined) continue
      opened += 1
      expect(text).not.toBe('')
      expect(isConnectionString(text)).toBe(false)
    }
    expect(opened).toBeLessThan(40)
    expect(isConnectionString(openLegacy(passphrase, sealed) ?? '')).toBe(true)
  })
})

describe('opens nothing else', () => {
  const bytes = Buffer.from(sealed, 'base64')
  const refused = (values: readonly string[]) =>
    expect(values.filter((value) => openLegacy(passphrase, value) !== undefined)).toEqual([])

  test('no value cut short', () => {
    refused(Array.from({ length: sealed.length }, (_, length) => sealed.slice(0, length)))
    refused(Array.from({ length: bytes.length }, (_, length) => bytes.subarray(0, length).toString('base64')))
  })

  test('no base64 but the canonical one', () => {
    const [, , padded] = vectors[1]
    expect(openLegacy('SAMPLE_KEY', padded)).toBeDefined()
    const others = [
      padded.replace('=', ''),
      `${padded}=`,
      padded.replace('0=', '1='),
      padded.replaceAll('/', '_').replaceAll('+', '-'),
      `${padded.slice(0, 64)}\n${padded.slice(64)}`,
      `${padded.slice(0, 20)} ${padded.slice(20)}`,
      `${padded}*`,
    ]
    expect(others.filter((value) => value === padded || openLegacy('SAMPLE_KEY', value) !== undefined)).toEqual([])
  })

  test('no wrong padding and no empty value', () => {
    const endings = ['00', '11', '0302', '10'.repeat(15), '01020304']
    const blocks = endings.map((hex) =>
      Buffer.concat([Buffer.alloc(32 - hex.length / 2, 'a'), Buffer.from(hex, 'hex')]),
    )
    refused(blocks.map((block) => sealLegacy(passphrase, block, false)))
    refused([sealLegacy(passphrase, '')])
    // The last block's predecessor decides the padding: every other value of its last byte breaks it.
    const others = Array.from({ length: 255 }, (_, index) => {
      const changed = Buffer.from(bytes)
      const place = changed.length - 17
      changed[place] = (changed[place] ?? 0) ^ (index + 1)
      return changed.toString('base64')
    })
    expect(others.filter((value) => openLegacy(passphrase, value) === plaintext)).toEqual([])
    expect(others.filter((value) => openLegacy(passphrase, value) !== undefined).length).toBeLessThanOrEqual(1)
  })

  test('no bytes that are not UTF-8', () => {
    const broken = ['ff', 'c3', 'c080', 'eda080', 'f4908080', '72656469733a2f2f68ff'].map((hex) =>
      Buffer.from(hex, 'hex'),
    )
    refused(broken.map((text) => sealLegacy(passphrase, text)))
  })

  test('no connection string, no value of ours, nothing empty or huge', () => {
    const others = [
      '',
      ' ',
      'Salted__',
      'redis://h',
      plaintext,
      'enc:v1:7828f4c4:AAECAwQFBgcICQoL:UJwG5Tjxq1bhdXclY9XwvvBiZk3k2YeKhhwq-bH6YG20kSftpbbd-ndP',
      'A'.repeat(5_000_000),
    ]
    refused(others)
    expect(others.filter(isLegacy)).toEqual([])
    refused([`U2FsdGVkX1${'A'.repeat(5_000_000)}`, 'U2FsdGVkX1', 'U2FsdGVkX18='])
  })
})
