import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { checkServiceKey, parseKeyMaterial } from '#src/credentials/key-material.ts'

const seedHex = '3b34c406cca1217f7762867a75bf89e8a14bf8adbd29bea4ff874990131b7521'
const good = Buffer.from('9c1185a5c5e9fc54612808977ee8f548b2258d31ddfc2d3c8b1f6f4a0e7d9b63', 'hex')

/** Really random: the estimate is statistical, and the bias of fast-check towards edges is not chance. */
const randomKeys = Array.from({ length: 500 }, () => Buffer.from(crypto.getRandomValues(new Uint8Array(32))))

function refusal(text: string): string {
  const result = parseKeyMaterial(text)
  return result.ok ? 'accepted' : result.problem
}

describe('parseKeyMaterial', () => {
  test.each([
    ['64 hex digits', good.toString('hex')],
    ['upper-case hex', good.toString('hex').toUpperCase()],
    ['base64 with padding', good.toString('base64')],
    ['base64 without padding', good.toString('base64').replace('=', '')],
    ['base64url', good.toString('base64url')],
    ['base64url with padding', `${good.toString('base64url')}=`],
  ])('reads %s', (_, text) => {
    expect(parseKeyMaterial(text)).toEqual({ ok: true, bytes: Uint8Array.from(good) })
  })

  test('accepts random keys in every spelling', () => {
    const refused = randomKeys.filter((key) =>
      [key.toString('hex'), key.toString('base64'), key.toString('base64url')].some(
        (text) => !parseKeyMaterial(text).ok,
      ),
    )
    expect(refused).toEqual([])
  })

  test.each([
    'SAMPLE_KEY',
    seedHex,
    seedHex.toUpperCase(),
    Buffer.from(seedHex, 'hex').toString('base64'),
    'your-redis-encryption-key-32-chars',
    'your-mongo-encryption-key-32-chars',
    'your-postgres-encryption-key-32-chars',
    'your-encryption-key-32-chars-min',
    'changeme-changeme-changeme-changeme',
    '603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4',
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  ])('refuses the published value %s', (text) => {
    expect(refusal(text)).toContain('published')
  })

  test.each([
    ['nothing', ''],
    ['63 digits', good.toString('hex').slice(1)],
    ['66 digits', `${good.toString('hex')}00`],
    ['16 bytes', good.toString('hex').slice(32)],
    ['31 bytes of base64', good.subarray(1).toString('base64')],
    ['33 bytes of base64', Buffer.concat([good, good.subarray(0, 1)]).toString('base64')],
    ['a prefix', `0x${good.toString('hex')}`],
    ['a line break', `${good.toString('hex')}\n`],
    ['a letter that is no hex digit', good.toString('hex').replace(/.$/, 'g')],
    ['both base64 alphabets at once', '+_'.padEnd(43, good.toString('base64url'))],
    ['base64 with bits left over', good.toString('base64url').replace(/.$/, 'N')],
    ['double padding', `${good.toString('base64')}=`],
  ])('refuses %s as not 32 bytes', (_, text) => {
    expect(refusal(text)).toContain('exactly 32 bytes')
  })

  test.each([
    ['zeros', Buffer.alloc(32)],
    ['one byte repeated', Buffer.alloc(32, 0x11)],
    ['another byte repeated', Buffer.alloc(32, 0x22)],
    ['0xff repeated', Buffer.alloc(32, 0xff)],
    ['a short pattern repeated', Buffer.alloc(32, Buffer.from('deadbeef', 'hex'))],
    ['a pattern that does not divide 32', Buffer.alloc(32, good.subarray(0, 11))],
    ['half a key twice', Buffer.alloc(32, good.subarray(0, 16))],
    ['half a key and its mirror', Buffer.concat([good.subarray(0, 16), Buffer.from(good.subarray(0, 16)).reverse()])],
    ['half a key and zeros', Buffer.concat([good.subarray(0, 16), Buffer.alloc(16)])],
    ['00 01 02 …', Buffer.from(Array.from({ length: 32 }, (__, i) => i))],
    ['a sequence downwards in sevens', Buffer.from(Array.from({ length: 32 }, (__, i) => 250 - 7 * i))],
    ['squares', Buffer.from(Array.from({ length: 32 }, (__, i) => i * i))],
    ['0123456789abcdef …', Buffer.from('0123456789abcdef'.repeat(4), 'hex')],
    ['two hex digits only', Buffer.from('0110100110010110100101100110100110010110011010010110100110010110', 'hex')],
  ])('refuses %s as too predictable', (_, bytes) => {
    expect([bytes.toString('hex'), bytes.toString('base64')].map(refusal)).toEqual([
      expect.stringContaining('too predictable'),
      expect.stringContaining('too predictable'),
    ])
  })

  test.each([
    'correct horse battery staple! 42',
    '9c1185a5c5e9fc54612808977ee8f548',
    'a sentence with its line break.\n',
  ])('refuses encoded text: %j', (text) => {
    const bytes = Buffer.from(text)
    expect([refusal(bytes.toString('hex')), refusal(bytes.toString('base64'))]).toEqual([
      expect.stringMatching(/readable text|too predictable/),
      expect.stringMatching(/readable text|too predictable/),
    ])
  })

  test('refuses text however varied', () => {
    expect(refusal(Buffer.from('Zebra-quick! Fjord_Wimp%89xyNGLT').toString('base64'))).toContain('readable text')
  })

  test('never says the value it refuses', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 12 }), (text) => {
        expect(refusal(text)).not.toContain(text)
      }),
    )
    for (const text of ['SAMPLE_KEY', seedHex, 'your-redis-encryption-key-32-chars', '11'.repeat(32)]) {
      expect(refusal(text)).not.toContain(text)
    }
  })
})

describe('checkServiceKey', () => {
  test('accepts random keys of 32 characters and more', () => {
    const texts = randomKeys.flatMap((key) => [key.toString('hex'), key.toString('base64'), key.toString('base64url')])
    expect(texts.map(checkServiceKey).filter((problem) => problem !== undefined)).toEqual([])
  })

  test.each([
    ['published', 'your-bun-api-secret-key'],
    ['published', 'your-bun-api-secret-key-your-bun-api-secret-key'],
    ['published', 'changeme'],
    ['published', 'ChangeMe-0123456789-abcdefghijklmnop'],
    ['published', 'please_change_me_before_you_deploy_this'],
    ['published', 'SAMPLE_KEY'],
    ['published', seedHex],
    ['published', 'your-redis-encryption-key-32-chars'],
    ['published', 'your-mongo-encryption-key-32-chars'],
    ['published', 'your-super-secret-jwt-token-with-at-least-32-characters-long'],
    ['at least 32', ''],
    ['at least 32', 'k3Jd82Hs9Qp1Lx7Zv5Tn0Rb4Wm6Yc8F'],
    ['visible ASCII', 'k3Jd82Hs9Qp1Lx7Z v5Tn0Rb4Wm6Yc8Fg2'],
    ['visible ASCII', 'k3Jd82Hs9Qp1Lx7Zv5Tn0Rb4Wm6Yc8Fg2é'],
    ['visible ASCII', 'k3Jd82Hs9Qp1Lx7Zv5Tn0Rb4Wm6Yc8Fg2\n'],
    ['predictable', 'a'.repeat(40)],
    ['predictable', '123456789'.repeat(4)],
    ['predictable', 'abcdefghijkl'.repeat(3)],
    ['predictable', 'k3Jd82Hs9Qp1Lx7Z'.repeat(2)],
    ['predictable', 'abcdefghijklmnopqrstuvwxyz0123456789'],
  ])('refuses as %s: %j', (reason, text) => {
    const problem = checkServiceKey(text) ?? 'accepted'
    expect({ problem, says: text !== '' && problem.includes(text) }).toEqual({
      problem: expect.stringContaining(reason),
      says: false,
    })
  })
})
