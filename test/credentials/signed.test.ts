import { beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { createKeyring, type Keyring } from '#src/credentials/keyring.ts'
import { readCursor, signCursor } from '#src/credentials/signed.ts'
import { ApiError } from '#src/errors.ts'

const one = new Uint8Array(32).fill(0x11)
const two = new Uint8Array(32).fill(0x22)
const scope = 'redis/keys/22222222-2222-4222-8222-222222222222'

let ring: Keyring
beforeAll(async () => {
  ring = await createKeyring({ current: one })
})

function signedBody(text: string): string {
  const body = Buffer.from(text).toString('base64url')
  return `${body}.${ring.mac('cursor', `${scope}.${body}`)}`
}

/** The cursors that are not refused with `VALIDATION_FAILED`. */
function accepted(cursors: readonly string[], at = scope): readonly string[] {
  return cursors.filter((cursor) => {
    try {
      readCursor(ring, at, cursor)
    } catch (error) {
      if (error instanceof ApiError && error.code === 'VALIDATION_FAILED') return false
    }
    return true
  })
}

describe('cursors', () => {
  test('carry strings and numbers unchanged, uint64 as text', () => {
    const item = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.integer(),
      fc.double({ noDefaultInfinity: true, noNaN: true }),
    )
    fc.assert(
      fc.property(fc.string(), fc.array(item), (at, payload) => {
        const expected = payload.map((value) => (value === 0 ? 0 : value))
        expect(readCursor(ring, at, signCursor(ring, at, payload))).toEqual(expected)
      }),
    )
    expect(readCursor(ring, scope, signCursor(ring, scope, ['18446744073709551615', 3]))).toEqual([
      '18446744073709551615',
      3,
    ])
  })

  test('travel in a URL as they are', () => {
    const cursor = signCursor(ring, scope, ['2026-11-22T12:00:00.123456Z', 'ключ/?#&+ %'])
    expect(encodeURIComponent(cursor)).toBe(cursor)
  })

  test('live through a key rotation', async () => {
    const later = await createKeyring({ current: two, previous: [one] })
    expect(readCursor(later, scope, signCursor(ring, scope, ['a']))).toEqual(['a'])
    expect(accepted([signCursor(later, scope, ['a'])])).toEqual([])
  })

  test('400 with the field named', () => {
    const error = (() => {
      try {
        return readCursor(ring, scope, 'nonsense')
      } catch (thrown) {
        return thrown
      }
    })()
    expect(error).toMatchObject({
      code: 'VALIDATION_FAILED',
      status: 400,
      details: [{ field: 'cursor', rule: 'must be an unchanged next_cursor of this list' }],
    })
  })

  test('400 a cursor of another scope', () => {
    const cursor = signCursor(ring, scope, ['a', 1])
    for (const at of ['', `${scope} `, `${scope}.`, 'redis/keys/33333333-3333-4333-8333-333333333333']) {
      expect(accepted([cursor], at)).toEqual([])
    }
    const [body = ''] = cursor.split('.')
    expect(
      accepted([`${body}.${ring.mac('cursor', body)}`, `${body}.${ring.mac('api-key', `${scope}.${body}`)}`]),
    ).toEqual([])
  })

  test('400 any changed, cut or foreign cursor', async () => {
    const stranger = await createKeyring({ current: two })
    const cursor = signCursor(ring, scope, ['a', 1])
    const [body = '', mac = ''] = cursor.split('.')
    const flipped = Array.from({ length: cursor.length * 8 }, (_, bit) => {
      const bytes = Buffer.from(cursor, 'latin1')
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      return bytes.toString('latin1')
    })
    const others = [
      '',
      '.',
      '0',
      body,
      `${body}.`,
      `.${mac}`,
      `${cursor}=`,
      `${cursor}.`,
      ` ${cursor}`,
      `${cursor}\n`,
      cursor.slice(0, -1),
      signCursor(stranger, scope, ['a', 1]),
    ]
    expect(accepted([...flipped, ...others])).toEqual([])
    fc.assert(fc.property(fc.string(), (text) => void expect(accepted([text, `${text}.${mac}`])).toEqual([])))
  })

  test('400 a signed body that is no payload', () => {
    const bodies = ['x', '{}', 'null', '"a"', '1', '[null]', '[[1]]', '[true]', '[1e999]', '["a",{}]', '[1']
    expect(accepted(bodies.map((body) => signedBody(body)))).toEqual([])
    expect(readCursor(ring, scope, signedBody('[]'))).toEqual([])
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('refuse to carry %d, which JSON would lose', (value) => {
    expect(() => signCursor(ring, scope, [value])).toThrow(TypeError)
  })
})
