import { beforeAll, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { assertMayRun, type Caller } from '#src/engines/redis/run/command-policy.ts'
import { type CommandTable, readCommandTable } from '#src/engines/redis/run/command-table.ts'
import { allowCommands } from '#src/engines/redis/run/run.ts'
import { ApiError } from '#src/errors.ts'
import { describeWith } from '#test/support/describe-with.ts'

const admin: Caller = { role: 'admin', readOnly: false, allowScripts: true }
const mebibytes64 = 64 * 1_024 * 1_024

const within = [
  'SRANDMEMBER s',
  'SRANDMEMBER s 1000',
  'SRANDMEMBER s -1000',
  'ZRANDMEMBER z -1000 WITHSCORES',
  'HRANDFIELD h 3 WITHVALUES',
  'MGET a b',
  'HMGET a a b',
  'SUNION a b',
  'SUNIONSTORE a a b',
  'PFMERGE a a b',
  'BITOP AND a a b',
  'ZUNION 2 a b WEIGHTS 1 1',
  'ZUNIONSTORE a 2 a b AGGREGATE SUM',
  'SINTERCARD 2 a b LIMIT 2',
  'XREAD STREAMS a b 0 0',
  'XREADGROUP GROUP g g STREAMS a b > >',
  'MEMORY USAGE a SAMPLES 1000',
  `SETRANGE a ${mebibytes64 - 1} x`,
  `SETBIT a ${mebibytes64 * 8 - 1} 1`,
  `BITFIELD a SET u8 ${mebibytes64 * 8 - 8} 1`,
  `GETBIT a ${mebibytes64 * 8}`,
  // For Redis to refuse.
  'SRANDMEMBER s 1 2',
  'SETRANGE a x y',
  'ZUNION x a a',
  'SETRANGE',
  'XREAD',
]

const beyond: readonly (readonly [command: string, rule: string])[] = [
  ['SRANDMEMBER s 1001', 'must have a count between -1000 and 1000'],
  ['SRANDMEMBER s -90000000', 'must have a count between -1000 and 1000'],
  ['srandmember s x', 'must have a count between -1000 and 1000'],
  ['HRANDFIELD h -1001 WITHVALUES', 'must have a count between -1000 and 1000'],
  ['ZRANDMEMBER z -9223372036854775808', 'must have a count between -1000 and 1000'],
  ['MGET a b a', 'must name no key or field twice'],
  ['HMGET h f f', 'must name no key or field twice'],
  ['SUNION a a', 'must name no key or field twice'],
  ['SINTER a b a', 'must name no key or field twice'],
  ['SDIFF a b b', 'must name no key or field twice'],
  ['SDIFFSTORE d a a', 'must name no key or field twice'],
  ['PFCOUNT a a', 'must name no key or field twice'],
  ['BITOP XOR d a a', 'must name no key or field twice'],
  ['ZINTER 2 a a', 'must name no key or field twice'],
  ['ZINTERSTORE d 3 a b a', 'must name no key or field twice'],
  ['SINTERCARD 2 a a LIMIT 1', 'must name no key or field twice'],
  ['XREAD COUNT 1 STREAMS a a 0 0', 'must name no key or field twice'],
  ['XREADGROUP GROUP g c STREAMS a b a > > >', 'must name no key or field twice'],
  ['XREADGROUP GROUP streams c STREAMS a a a 0 0 0', 'must name no key or field twice'],
  ['MEMORY USAGE a SAMPLES 0', 'must have SAMPLES between 1 and 1000'],
  ['MEMORY USAGE a samples 1001', 'must have SAMPLES between 1 and 1000'],
  [`SETRANGE a ${mebibytes64} x`, `must have an offset below ${mebibytes64} bytes`],
  ['SETBIT a 4294967295 1', `must have an offset below ${mebibytes64} bytes`],
  ['BITFIELD a INCRBY u8 4294967288 1', `must have an offset below ${mebibytes64} bytes`],
  ['BITFIELD a GET u8 0 SET i64 #8388608 1', `must have an offset below ${mebibytes64} bytes`],
]

describeWith('redis', 'bounds of what one command costs', (store) => {
  let table: CommandTable
  beforeAll(async () => {
    const raw = new Redis({ host: store.host, port: store.port, password: store.password, lazyConnect: true })
    table = readCommandTable(await raw.call('COMMAND'))
    raw.disconnect()
  })

  const refusal = (words: readonly (string | Uint8Array)[], caller = admin) => {
    try {
      assertMayRun(table, words, caller)
      return undefined
    } catch (error) {
      if (error instanceof ApiError) return [error.code, error.details]
      throw error
    }
  }

  test.each(within)('%s is within them', (command) => {
    const words = command.split(' ')
    expect([refusal(words), refusal(words.map((word) => Buffer.from(word)))]).toEqual([undefined, undefined])
  })

  test.each(beyond.map((row) => [...row] as [string, string]))('%s %s', (command, rule) => {
    const words = command.split(' ')
    const refused = ['VALIDATION_FAILED', [{ field: 'command', rule }]]
    expect([refusal(words), refusal(words.map((word) => Buffer.from(word)))]).toEqual([refused, refused])
  })

  test('a key is the same as text and as bytes', () => {
    expect(refusal(['SUNION', 'ü', Buffer.from('ü')])?.[0]).toBe('VALIDATION_FAILED')
  })

  test('LCS, whose work is the product of two values, is for admins alone', () => {
    const roles = (['read', 'write', 'admin'] as const).map(
      (role) => refusal(['LCS', 'a', 'b'], { ...admin, role })?.[0],
    )
    expect(roles).toEqual(['FORBIDDEN', 'FORBIDDEN', undefined])
  })

  describe('what walks over values', () => {
    const walks: readonly (readonly [command: string, walks: number])[] = [
      ['GET a', 0],
      ['SET a b', 0],
      ['DEL a', 0],
      ['HMGET a b', 0],
      ['SDIFF a b', 1],
      ['LRANGE a 0 -1', 1],
      ['BITCOUNT a', 1],
      ['LREM a 0 x', 1],
      ['COPY a b', 1],
      ['EVAL x 0', 1],
    ]
    test.each(walks.map((row) => [...row] as [string, number]))('%s: %p', (command, expected) => {
      expect(allowCommands(table, [command.split(' ')], admin).walks).toBe(expected)
    })
  })
})
