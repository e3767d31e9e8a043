import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { callWithin } from '#src/engines/engine.ts'
import type { BatchCommand, Reply } from '#src/engines/redis/wire/batch.ts'
import { assertMayRun, type Caller } from '#src/engines/redis/run/command-policy.ts'
import { type CommandTable, readCommandTable } from '#src/engines/redis/run/command-table.ts'
import type { Commands, Outcome } from '#src/engines/redis/commands.ts'
import { repliesFit } from '#src/engines/redis/run/reply-size.ts'
import { allowCommands } from '#src/engines/redis/run/run.ts'
import { ApiError } from '#src/errors.ts'
import { describeWith } from '#test/support/describe-with.ts'

const admin: Caller = { role: 'admin', readOnly: false, allowScripts: true }
const long = 'a'.repeat(257)
const short = 'a'.repeat(256)

function errorOf(table: CommandTable, words: readonly (string | Uint8Array)[]): ApiError | undefined {
  try {
    assertMayRun(table, words, admin)
    return undefined
  } catch (error) {
    if (error instanceof ApiError) return error
    throw error
  }
}

describe('commands the fixed set does not know', () => {
  const table = readCommandTable([
    ['newconn', 1, ['fast'], 0, 0, 0, ['@connection']],
    ['newmulti', 1, ['fast'], 0, 0, 0, ['@transaction']],
    ['newsub', -2, ['pubsub'], 0, 0, 0, ['@pubsub']],
    ['newblock', -2, ['write', 'blocking'], 1, 1, 1, ['@write']],
    ['newwrite', -2, ['write'], 1, 1, 1, ['@write']],
    ['module.read', -2, ['readonly'], 1, 1, 1, []],
    ['module.unsaid', -2, ['module'], 0, 0, 0, []],
    ['publish', 3, ['pubsub', 'fast'], 0, 0, 0, ['@pubsub']],
  ])

  test('are judged by the server’s metadata', () => {
    const names = ['newconn', 'newmulti', 'newsub', 'newblock', 'newwrite', 'module.read', 'module.unsaid', 'publish']
    const outcome = (name: string, caller: Caller) => {
      try {
        return assertMayRun(table, [name, 'a'], caller).class
      } catch (error) {
        return (error as ApiError).code
      }
    }
    const writer: Caller = { ...admin, role: 'write' }
    expect(names.map((name) => [name, outcome(name, admin), outcome(name, writer)])).toEqual([
      ['newconn', 'DB_UNSUPPORTED', 'DB_UNSUPPORTED'],
      ['newmulti', 'DB_UNSUPPORTED', 'DB_UNSUPPORTED'],
      ['newsub', 'DB_UNSUPPORTED', 'DB_UNSUPPORTED'],
      ['newblock', 'DB_UNSUPPORTED', 'DB_UNSUPPORTED'],
      ['newwrite', 'write', 'write'],
      ['module.read', 'read', 'read'],
      ['module.unsaid', 'admin', 'FORBIDDEN'],
      ['publish', 'write', 'write'],
    ])
  })
})

describeWith('redis', 'the policy of commands', (store) => {
  let table: CommandTable
  beforeAll(async () => {
    const raw = new Redis({ host: store.host, port: store.port, password: store.password, lazyConnect: true })
    table = readCommandTable(await raw.call('COMMAND'))
    raw.disconnect()
  })

  const bounded: readonly (readonly [readonly string[], boolean])[] = [
    [['KEYS', short], true],
    [['KEYS', long], false],
    [['SCAN', '0', 'MATCH', short], true],
    [['SCAN', '0', 'MATCH', long], false],
    [['scan', '0', 'count', '10', 'match', 'a', 'match', long], false],
    [['HSCAN', long, '0', 'MATCH', short], true],
    [['HSCAN', 'k', '0', 'MATCH', long], false],
    [['SSCAN', 'k', '0', 'MATCH', long], false],
    [['ZSCAN', 'k', '0', 'MATCH', long], false],
    [['PUBSUB', 'CHANNELS', long], false],
    [['PUBSUB', 'NUMSUB', long], true],
    [['COMMAND', 'LIST', 'FILTERBY', 'PATTERN', long], false],
    [['SCAN', '0', 'COUNT', '1000'], true],
    [['SCAN', '0', 'COUNT', '1001'], false],
    [['SCAN', '0', 'COUNT', '1', 'COUNT', '100000000'], false],
    [['SCAN', '0', 'COUNT', 'x'], false],
    [['HSCAN', 'count', '99999999'], true],
    [['HSCAN', 'k', '0', 'COUNT', '99999999'], false],
    [['GET', long], true],
  ]
  test.each(bounded.map(([words, runs]) => [words.map((word) => word.slice(0, 9)).join(' '), words, runs] as const))(
    '%s',
    (_, words, runs) => {
      const bytes = words.map((word) => Buffer.from(word))
      const codes = [errorOf(table, words)?.code, errorOf(table, bytes)?.code]
      expect(codes).toEqual(Array(2).fill(runs ? undefined : 'VALIDATION_FAILED'))
    },
  )

  test('the pattern counts in bytes', () => {
    expect(errorOf(table, ['KEYS', 'ü'.repeat(129)])?.code).toBe('VALIDATION_FAILED')
  })

  test('what is sent is the command that was judged', () => {
    const kelvin = '\u212aEYS'
    const { batch } = allowCommands(
      table,
      [
        ['GeT', 'A'],
        [Buffer.from('SET'), Buffer.from([0xff]), 'b'],
      ],
      admin,
    )
    expect(batch).toEqual([
      ['get', 'A'],
      ['set', Buffer.from([0xff]), 'b'],
    ])
    // The Kelvin sign is k in lower case.
    expect(allowCommands(table, [[kelvin, '*']], admin).batch).toEqual([['keys', '*']])
    expect(() => allowCommands(table, [[kelvin, '*']], { ...admin, role: 'read' })).toThrow()
  })

  describe('replies that fit the connection of all callers', () => {
    const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 8, lazyConnect: true })
    let asked = 0
    const shared: Commands = {
      send: () => Promise.reject(new Error('not asked')),
      each: (_call, _effect, ...commands) => {
        asked += commands.length
        return Promise.all(
          commands.map(async ([name, ...args]): Promise<Outcome> => ({
            reply: (await raw.callBuffer(name, ...args)) as Reply,
          })),
        )
      },
    }
    beforeAll(async () => {
      await raw.flushdb()
      await raw.set('short', 'x'.repeat(100))
      await raw.set('other', 'x'.repeat(700))
      await raw.set('long', 'x'.repeat(2_000))
      await raw.sadd('few', '1', '2')
      await raw.sadd('many', ...Array.from({ length: 1_000 }, (_, n) => `member ${n}`))
    })
    afterAll(async () => {
      await raw.flushdb()
      raw.disconnect()
    })

    const batches: readonly (readonly [readonly BatchCommand[], boolean, number])[] = [
      [[['incr', 'a']], true, 0],
      [[['set', 'a', 'b', 'EX', '5']], true, 0],
      [[['set', 'a', 'b', 'GET']], false, 0],
      [[['set', 'a', 'b', 'ex', '5', Buffer.from('gEt')]], false, 0],
      [[['set', 'get', 'get']], true, 0],
      [[['ping']], true, 0],
      [[['ping', 'a']], false, 0],
      [[['sunion', 'a', 'b']], false, 0],
      [[['hmget', 'a', 'f', 'f']], false, 0],
      [Array(100).fill(['ttl', 'a']), true, 0],
      [Array(101).fill(['ttl', 'a']), false, 0],
      [[['get', 'short']], true, 2],
      [[['get', 'absent']], true, 2],
      [[['get', 'long']], false, 2],
      [[['mget', 'short', 'other']], true, 4],
      [[['mget', 'other', 'other']], false, 4],
      [[['mget', ...Array(51).fill('absent')]], false, 0],
      [[['smembers', 'few']], true, 2],
      [[['smembers', 'many']], false, 2],
      [
        [
          ['set', 'short', 'y'],
          ['get', 'short'],
        ],
        true,
        2,
      ],
      [
        [
          ['set', 'short', 'y'.repeat(1_100)],
          ['get', 'short'],
        ],
        false,
        0,
      ],
      [
        [
          ['setrange', 'short', '100000000', 'y'],
          ['get', 'short'],
        ],
        false,
        0,
      ],
      [
        [
          ['rename', 'many', 'few'],
          ['smembers', 'few'],
        ],
        false,
        0,
      ],
    ]
    test.each(batches.map(([batch, ...rest]) => [batch.slice(0, 2).join('; ').slice(0, 60), batch, ...rest] as const))(
      '%s',
      async (_, batch, fits, questions) => {
        asked = 0
        using call = callWithin(5_000)
        expect([await repliesFit(shared, batch, 1_024, call), asked]).toEqual([fits, questions])
      },
    )
  })

  test('whoever is refused is told what for', () => {
    const message = (words: readonly string[]) => errorOf(table, words)?.message
    expect([
      message(['MULTI']),
      message(['subscribe', 'c']),
      message(['MONITOR']),
      message(['CLIENT', 'KILL', 'ID', '1']),
      message(['SHUTDOWN']),
      message(['BLPOP', 'a', '0']),
    ]).toEqual([
      'MULTI does not run here. POST transaction runs commands as one.',
      'SUBSCRIBE does not run here. GET pubsub listens to channels.',
      'MONITOR does not run here. GET monitor watches the commands.',
      'CLIENT does not run here. GET clients lists the connections.',
      'SHUTDOWN does not run here.',
      'BLPOP would hold up everybody else.',
    ])
  })
})
