import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { clusterApp } from '#test/support/redis-app.ts'
import { canary } from '#test/support/stores.ts'

describeWith('redis', 'POST /redis/{databaseId}/transaction', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 12, lazyConnect: true })
  const user = `t_${process.pid}`
  let app: TestApp
  let id: string
  let unable: string

  beforeAll(async () => {
    app = await createTestApp()
    id = (await app.register({ name: 'one', type: 'redis', connectionString: store.url.replace(/\/0$/, '/12') })).id
    await raw.call('ACL', 'SETUSER', user, 'on', `>${canary}`, '~*', '+@all', '-multi')
    const connectionString = `redis://${user}:${canary}@${store.host}:${store.port}/12`
    unable = (await app.register({ name: 'no-multi', type: 'redis', connectionString })).id
    await raw.flushdb()
  })
  afterAll(async () => {
    await raw.call('ACL', 'DELUSER', user)
    await raw.flushdb()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const transact = (commands: unknown, watch?: unknown, of = id) =>
    app.request('POST', `/api/platform/redis/${of}/transaction`, {
      body: { commands, ...(watch === undefined ? {} : { watch }) },
    })

  test('200 all commands as one, each with its result', async () => {
    const { status, body } = await transact([
      ['SET', 'a', '1'],
      ['incr', 'a'],
      ['GET', 'a'],
      ['GET', 'absent'],
    ])
    expect([status, body]).toEqual([
      200,
      { results: [{ result: 'OK' }, { result: 2 }, { result: '2' }, { result: null }] },
    ])
  })

  test('200 one that fails while it runs has its error in its place, and the others ran', async () => {
    const { body } = await transact([
      ['SET', 'text', 'x'],
      ['INCR', 'text'],
      ['APPEND', 'text', 'y'],
    ])
    expect(body.results).toEqual([
      { result: 'OK' },
      {
        error: {
          code: 'DB_QUERY_ERROR',
          message: expect.any(String),
          details: { code: 'ERR', message: 'value is not an integer or out of range' },
        },
      },
      { result: 2 },
    ])
    expect(await raw.get('text')).toBe('xy')
  })

  test('400 one that Redis does not take is named, and nothing ran', async () => {
    await raw.del('never')
    const { status, body } = await transact([
      ['SET', 'never', '1'],
      ['SET', 'never'],
    ])
    expect([status, body.error.code, body.error.details]).toEqual([
      400,
      'DB_QUERY_ERROR',
      { code: 'ERR', index: 1, message: "wrong number of arguments for 'set' command" },
    ])
    expect(await raw.exists('never')).toBe(0)
    expect((await transact([['GET', 'never']])).body.results).toEqual([{ result: null }])
  })

  test('400 for a user without the right to MULTI, and nothing ran, the first time and later', async () => {
    for (let round = 0; round < 2; round++) {
      const { status, body } = await transact([['SET', 'never', '1']], undefined, unable)
      expect([status, body.error.details, await raw.exists('never')]).toEqual([400, { code: 'NOPERM' }, 0])
    }
  })

  test('400 what runs for nobody does not in a transaction either', async () => {
    for (const words of [['WATCH', 'a'], ['EXEC'], ['MULTI'], ['BLPOP', 'a', 0], ['SELECT', 1], ['SUBSCRIBE', 'c']]) {
      const { status, body } = await transact([['GET', 'a'], words])
      expect([status, body.error.code, body.error.details]).toEqual([400, 'DB_UNSUPPORTED', { index: 1 }])
    }
  })

  describe('with watch', () => {
    const bytes = { base64: '//4A' }

    test('200 while each key is as it must be', async () => {
      await raw.flushdb()
      await raw.set('text', 'x')
      await raw.set('bytes', Buffer.from([0xff, 0xfe, 0]))
      await raw.set('empty', '')
      await raw.hset('hash', 'a', '1')
      const watch = [
        { key: 'text', ifEqual: 'x' },
        { key: 'bytes', ifEqual: bytes },
        { key: 'empty', ifEqual: '' },
        { key: 'hash', ifType: 'hash' },
        { key: 'absent', ifAbsent: true },
      ]
      expect((await transact([['SET', 'absent', 'now']], watch)).body).toEqual({ results: [{ result: 'OK' }] })
    })

    const unfit: readonly unknown[] = [
      { key: 'text', ifEqual: 'xy' },
      { key: 'text', ifEqual: '' },
      { key: 'bytes', ifEqual: { base64: '//4=' } },
      { key: 'hash', ifEqual: 'x' },
      { key: 'gone', ifEqual: '' },
      { key: 'text', ifAbsent: true },
      { key: 'text', ifType: 'hash' },
      { key: 'gone', ifType: 'string' },
    ]
    test.each(unfit.map((condition) => [condition]))('409 %j does not hold, and nothing ran', async (condition) => {
      const { status, body } = await transact([['SET', 'never', '1']], [{ key: 'text', ifEqual: 'x' }, condition])
      expect([status, body.error.code, body.error.retryable, body.error.details]).toEqual([
        409,
        'DB_CONFLICT',
        false,
        { reason: 'condition', index: 1 },
      ])
      expect(await raw.exists('never')).toBe(0)
      // What was watched is not for the next on that connection.
      await raw.set('text', 'x')
      expect((await transact([['PING']])).status).toBe(200)
    })

    test('compare-and-set by 30 callers at once loses no increment', async () => {
      await raw.set('counter', '0')
      let conflicts = 0
      const increment = async (): Promise<void> => {
        for (;;) {
          const was = (await raw.get('counter')) ?? ''
          const next = String(Number(was) + 1)
          const answer = await transact([['SET', 'counter', next]], [{ key: 'counter', ifEqual: was }])
          if (answer.status === 200) return
          expect([answer.status, answer.body.error.code]).toEqual([409, 'DB_CONFLICT'])
          conflicts += 1
        }
      }
      await Promise.all(Array.from({ length: 30 }, increment))
      expect([await raw.get('counter'), conflicts > 0]).toEqual(['30', true])
    })

    test('409 and retryable where a key changes between the look and EXEC', async () => {
      await raw.set('hot', 'x')
      const other = raw.duplicate({ lazyConnect: true })
      let stop = false
      const writing = (async () => {
        while (!stop) await other.pipeline(Array.from({ length: 50 }, () => ['set', 'hot', 'x'])).exec()
      })()
      const reasons = new Set<string>()
      const until = performance.now() + 20_000
      while (!reasons.has('changed') && performance.now() < until) {
        const { status, body } = await transact([['SET', 'done', '1']], [{ key: 'hot', ifEqual: 'x' }])
        if (status === 409) {
          reasons.add(body.error.details.reason)
          expect(body.error.retryable).toBe(true)
        }
      }
      stop = true
      await writing
      other.disconnect()
      expect([...reasons]).toEqual(['changed'])
    })
  })

  const bad: readonly (readonly [unknown, unknown, string])[] = [
    [[], undefined, 'commands'],
    [[[]], undefined, 'commands.0'],
    [[['PING']], [{ key: 'a' }], 'watch.0'],
    [[['PING']], [{ key: 'a', ifAbsent: false }], 'watch.0'],
    [[['PING']], [{ key: 'a', ifAbsent: true, ifType: 'hash' }], 'watch.0'],
    [[['PING']], Array(101).fill({ key: 'a', ifAbsent: true }), 'watch'],
  ]
  test.each(bad.map((row) => [...row] as [unknown, unknown, string]))(
    '400 %j with %j',
    async (commands, watch, field) => {
      const { status, body } = await transact(commands, watch)
      expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
    },
  )
})

describeWith('redis', 'commands and transactions of a cluster', () => {
  const { app, path } = clusterApp()

  const send = (name: string, body: unknown) => app.request('POST', path(name), { body })

  test('200 a pipeline over all nodes has its replies in its own order', async () => {
    const keys = Array.from({ length: 60 }, (_, n) => `key ${n}`)
    await send('pipeline', { commands: keys.map((key) => ['SET', key, `of ${key}`]) })
    const { body } = await send('pipeline', { commands: [...keys.map((key) => ['GET', key]), ['HGETALL', 'none']] })
    expect(body.results).toEqual([...keys.map((key) => ({ result: `of ${key}` })), { result: [] }])
  })

  test('200 a transaction on whichever node has its keys, again and again', async () => {
    for (let round = 0; round < 2; round++)
      for (const tag of ['{a}', '{b}', '{c}', '{d}']) {
        const commands = [
          ['SET', `${tag}1`, '1'],
          ['INCR', `${tag}1`],
        ]
        const done = await send('transaction', { commands, watch: [{ key: `${tag}2`, ifAbsent: true }] })
        expect(done.body).toEqual({ results: [{ result: 'OK' }, { result: 2 }] })
        const refused = await send('transaction', { commands, watch: [{ key: `${tag}1`, ifEqual: '3' }] })
        expect([refused.status, refused.body.error.details]).toEqual([409, { reason: 'condition', index: 0 }])
      }
  })

  test('400 keys in different slots, and nothing ran', async () => {
    const commands = [
      ['SET', '{a}3', '1'],
      ['SET', '{b}3', '1'],
    ]
    for (const body of [{ commands }, { commands: commands.slice(0, 1), watch: [{ key: '{b}3', ifAbsent: true }] }]) {
      const { status, body: answer } = await send('transaction', body)
      expect([status, answer.error.code]).toEqual([400, 'DB_UNSUPPORTED'])
    }
    expect((await send('command', { command: ['EXISTS', '{a}3', '{b}3'] })).body.result).toBe(0)
  })
})
