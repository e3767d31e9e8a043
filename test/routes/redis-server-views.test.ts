import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { parseClients } from '#src/engines/redis/server/clients.ts'
import { settingsOf } from '#src/engines/redis/server/config-view.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

describe('CLIENT LIST', () => {
  test('is read as text, values with an equals sign or a space whole', () => {
    const text =
      'id=3 addr=127.0.0.1:5 laddr=/run/my redis.sock:0 name=a=b db=0 tot-net-in=7 cmd=client|list lib-name=\n' +
      'id=4 addr=[::1]:5 name= cmd=NULL\n\n'
    expect(parseClients(text)).toEqual([
      {
        id: '3',
        addr: '127.0.0.1:5',
        laddr: '/run/my redis.sock:0',
        name: 'a=b',
        db: '0',
        'tot-net-in': '7',
        cmd: 'client|list',
        'lib-name': '',
      },
      { id: '4', addr: '[::1]:5', name: '', cmd: 'NULL' },
    ])
  })
})

describe('CONFIG GET', () => {
  test('masks what is a secret and set, by any name a secret has', () => {
    const secret = [
      'requirepass',
      'masterauth',
      'primaryauth',
      'tls-key-file-pass',
      'tls-client-key-file-pass',
      'x.token',
    ]
    const plain = ['tls-auth-clients', 'masteruser', 'maxmemory', 'tls-key-file', 'dir']
    const reply = [...secret, ...plain].flatMap((name) => [Buffer.from(name), Buffer.from('value')])
    const settings = settingsOf([...reply, Buffer.from('auth-pass'), Buffer.from('')])
    expect([secret.map((name) => settings[name]), plain.map((name) => settings[name]), settings['auth-pass']]).toEqual([
      secret.map(() => '****'),
      plain.map(() => 'value'),
      '',
    ])
  })
})

describeWith('redis', 'what the server says of itself', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 9, lazyConnect: true })
  const settings = ['slowlog-log-slower-than', 'latency-monitor-threshold'] as const
  const before = new Map<string, string>()
  let app: TestApp
  let id: string
  let limited: string
  let frozen: string
  let writer: string

  beforeAll(async () => {
    app = await createTestApp()
    const connectionString = store.url.replace(/\/0$/, '/9')
    id = (await app.register({ name: 'views', type: 'redis', connectionString })).id
    const { username, password } = store.limited
    const url = `redis://${username}:${encodeURIComponent(password)}@${store.host}:${store.port}/9`
    limited = (await app.register({ name: 'limited', type: 'redis', connectionString: url })).id
    frozen = (await app.register({ name: 'frozen', type: 'redis', connectionString, config: { readOnly: true } })).id
    const made = await app.request('POST', '/api/platform/api-keys', {
      body: { name: 'writer', projectRef: 'default', role: 'write' },
    })
    writer = made.body.secret
    for (const name of settings) before.set(name, ((await raw.config('GET', name)) as string[])[1] ?? '')
  })
  afterAll(async () => {
    for (const [name, value] of before) await raw.config('SET', name, value)
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const get = (path: string, of = id, key?: string) =>
    app.request('GET', `/api/platform/redis/${of}/${path}`, key === undefined ? {} : { key })

  describe('GET /redis/{databaseId}/info', () => {
    test.each([
      '',
      '?section=all',
      '?section=everything',
      '?section=commandstats',
      '?section=keyspace',
      '?section=memory&db=10',
    ])('200 %s: parsed is what the text says', async (query) => {
      await raw.set('info', 'x')
      const { status, body } = await get(`info${query}`)
      const raws = (body.raw as string).split('\r\n')
      const lines = Object.values(body.parsed as Record<string, Record<string, string>>).flatMap((section) =>
        Object.entries(section).map(([name, value]) => `${name}:${value}`),
      )
      expect(status).toBe(200)
      expect(lines.toSorted()).toEqual(raws.filter((line) => line.includes(':')).toSorted())
      expect(Object.keys(body.parsed)).toEqual(
        raws.filter((line) => line.startsWith('# ')).map((line) => line.slice(2).toLowerCase()),
      )
    })

    test('200 the keyspace by database, as text', async () => {
      expect((await get('info?section=keyspace')).body.parsed.keyspace.db9).toMatch(/^keys=\d+,expires=\d+,avg_ttl=\d+/)
    })

    test('400 a section that is none, a database that is not there', async () => {
      expect((await get('info?section=a%20b')).body.error.details[0].field).toBe('section')
      expect((await get('info?db=16')).body.error.details[0].field).toBe('db')
    })
  })

  describe('GET /redis/{databaseId}/slowlog', () => {
    test('200 slow commands with their bytes, the newest first, without passwords', async () => {
      await raw.config('SET', 'slowlog-log-slower-than', '0')
      await raw.call('SLOWLOG', 'RESET')
      await raw.set(Buffer.from([0x6b, 0xff]), 'x')
      await raw.call('AUTH', 'default', 'no such password').catch(() => undefined)
      await raw.config('SET', 'slowlog-log-slower-than', '-1')
      const { status, body } = await get('slowlog?count=1000')
      const entry = body.data.find(({ command: [name] }: { command: unknown[] }) => name === 'set')
      expect([status, entry]).toEqual([
        200,
        {
          id: expect.any(Number),
          timestamp: expect.any(Number),
          duration_us: expect.any(Number),
          command: ['set', { base64: 'a/8=' }, 'x'],
          client: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
          client_name: '',
        },
      ])
      expect(body.kept).toBeGreaterThanOrEqual(body.data.length)
      expect(JSON.stringify(body)).not.toContain('no such password')
      const ids = body.data.map((one: { id: number }) => one.id)
      expect(ids).toEqual(ids.toSorted((one: number, other: number) => other - one))
      expect((await get('slowlog?count=1&encoding=base64')).body.data).toHaveLength(1)
      expect((await get('slowlog?count=1001')).status).toBe(400)
    })

    test('200 emptied by an admin, 403 for a writer and where the database is read-only', async () => {
      const reset = (of: string, key?: string) =>
        app.request('POST', `/api/platform/redis/${of}/slowlog/reset`, key === undefined ? {} : { key })
      await raw.config('SET', 'slowlog-log-slower-than', '0')
      await raw.ping()
      await raw.config('SET', 'slowlog-log-slower-than', '-1')
      const kept = await raw.call('SLOWLOG', 'LEN')
      const refused = [await reset(id, writer), await reset(frozen)]
      expect(refused.map(({ status, body }) => [status, body.error.code])).toEqual([
        [403, 'FORBIDDEN'],
        [403, 'DB_READ_ONLY'],
      ])
      expect([kept, await raw.call('SLOWLOG', 'LEN')]).toEqual([kept, kept])
      expect((await reset(id)).body).toEqual({ reset: true })
      expect(await raw.call('SLOWLOG', 'LEN')).toBe(0)
    })
  })

  test.each(['slowlog', 'clients', 'latency'])(
    '200 %s asked 20 times at once opens no connection beyond those of the pool',
    async (view) => {
      await using narrow = await createTestApp({ env: { REDIS_MAX_CONNECTIONS: '3' } })
      const row = await narrow.register({ name: 'narrow', type: 'redis', connectionString: store.url })
      const opened = async () => Number(/total_connections_received:(\d+)/.exec(await raw.info('stats'))?.[1])
      const before = await opened()
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => narrow.request('GET', `/api/platform/redis/${row.id}/${view}`)),
      )
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
      expect((await opened()) - before).toBeLessThanOrEqual(4)
    },
  )

  describe('GET /redis/{databaseId}/clients', () => {
    test('200 every connection with its fields as text', async () => {
      await raw.client('SETNAME', 'a=b')
      const { status, body } = await get('clients')
      const mine = body.data.find(({ name }: { name: string }) => name === 'a=b')
      expect([status, mine.id, mine.db, mine.user]).toEqual([200, String(await raw.client('ID')), '9', 'default'])
      await raw.client('SETNAME', '')
    })
  })

  describe('GET /redis/{databaseId}/config', () => {
    test('200 settings as text, and no password', async () => {
      const { status, body } = await get('config')
      expect([status, body.config.requirepass, body.config.masterauth]).toEqual([200, '****', ''])
      expect(Object.keys(body.config).length).toBeGreaterThan(100)
      expect((await get('config?pattern=requirepass')).body).toEqual({ config: { requirepass: '****' } })
      expect((await get('config?pattern=slowlog-max-*')).body).toEqual({ config: { 'slowlog-max-len': '128' } })
      expect((await get('config?pattern=none')).body).toEqual({ config: {} })
      expect((await get(`config?pattern=${'a'.repeat(257)}`)).body.error.details[0].field).toBe('pattern')
    })
  })

  describe('GET /redis/{databaseId}/latency', () => {
    test('200 events with their history, and advice', async () => {
      await raw.call('LATENCY', 'RESET')
      expect((await get('latency')).body).toEqual({ events: [], doctor: expect.stringContaining('Dave') })
      await raw.config('SET', 'latency-monitor-threshold', '1')
      await raw.call('EVAL', 'local n = 0 for i = 1, 3000000 do n = n + i end return n', '0')
      await raw.config('SET', 'latency-monitor-threshold', '0')
      const { status, body } = await get('latency')
      const event = body.events.find(({ event: name }: { event: string }) => name === 'command')
      expect([status, event]).toEqual([
        200,
        {
          event: 'command',
          timestamp: expect.any(Number),
          latest_ms: expect.any(Number),
          max_ms: expect.any(Number),
          history: [{ timestamp: event.timestamp, ms: event.latest_ms }],
        },
      ])
      await raw.call('LATENCY', 'RESET')
    })
  })

  describe('what tells of others', () => {
    const views = ['slowlog', 'clients', 'config', 'latency']

    test.each(views)('403 %s for who may only write', async (view) => {
      const { status, body } = await get(view, id, writer)
      expect([status, body.error.code]).toEqual([403, 'FORBIDDEN'])
    })

    test.each(['slowlog', 'config', 'latency'])(
      '400 %s with Redis’ code for an ACL user without the right',
      async (view) => {
        const { status, body } = await get(view, limited)
        expect([status, body.error.code, body.error.details]).toEqual([400, 'DB_QUERY_ERROR', { code: 'NOPERM' }])
      },
    )

    test.each(views)('200 %s of a read-only database', async (view) => {
      expect((await get(view, frozen)).status).toBe(200)
    })
  })
})
