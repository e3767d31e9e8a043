import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { testPassword } from '#test/support/credentials.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type RedisNode, until } from '#test/support/redis-cluster.ts'
import { type RedisSentinels, startSentinels } from '#test/support/redis-sentinel.ts'
import { stores } from '#test/support/stores.ts'

describeWith('redisOpen', 'Redis behind Sentinel', (store) => {
  let group: RedisSentinels
  let app: TestApp
  let id: string
  beforeAll(async () => {
    group = await startSentinels()
    app = await createTestApp()
    id = (await app.register({ name: 'sentinel', type: 'redis', connectionString: group.url, config: group.config })).id
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await group?.[Symbol.asyncDispose]()
  })

  const probe = async (connectionString: string, config: Readonly<Record<string, unknown>>, on = app) =>
    (await on.request('POST', '/api/platform/databases/test', { body: { type: 'redis', connectionString, config } }))
      .body
  const set = async (key: string, value: string) => {
    const { status, body } = await app.request('POST', `/api/platform/redis/${id}/set`, { body: { key, value } })
    return status === 200 ? 'OK' : body.error.code
  }
  const get = async (key: string) => {
    const { status, body } = await app.request('GET', `/api/platform/redis/${id}/get?key=${key}`)
    return status === 200 ? body.value : body.error.code
  }

  test('works on the primary that the sentinels name', async () => {
    expect([await set('greeting', 'hello'), await get('greeting')]).toEqual(['OK', 'hello'])
    expect(await group.primary.run('get', 'greeting')).toBe('hello')
    const other = await app.request('GET', `/api/platform/redis/${id}/keys?db=1`)
    expect([other.status, other.body.db_size]).toEqual([200, 0])
    const info = await app.request('GET', `/api/platform/databases/${id}/info`)
    expect(info.body).toMatchObject({ product: 'Redis', role: 'master', engine: { mode: 'standalone' } })
  })

  test('a probe goes through the stages, the last ones with the primary', async () => {
    const { ok, stages, warnings } = await probe(group.url, group.config)
    expect([ok, stages.map(({ name }: { name: string }) => name), warnings]).toEqual([
      true,
      ['policy', 'tcp', 'auth', 'database', 'rights'],
      [],
    ])
  })

  test('a probe says what is wrong', async () => {
    const { config, url } = group
    const wrong = url.replace(/:[^:@/]*@/, `:${testPassword()}@`)
    const reports = await Promise.all([
      probe(url, { ...config, sentinelMaster: 'nobody' }),
      probe(wrong, config),
      probe(`redis://127.0.0.1:${store.port}`, { ...config, nodes: [] }),
    ])
    expect(reports.map(({ error }) => [error.code, error.details.stage])).toEqual([
      ['DB_CONNECTION_FAILED', 'database'],
      ['DB_INVALID_CREDENTIALS', 'auth'],
      ['DB_CONNECTION_FAILED', 'database'],
    ])
  })

  test('a sentinel is given no password unless config.sentinelAuth says so', async () => {
    const { config, url, password } = group
    expect((await probe(url, { ...config, nodes: [], sentinelAuth: true })).error).toMatchObject({
      code: 'DB_INVALID_CREDENTIALS',
    })
    // Knows the primary by another name, so that the other sentinels do not count on it.
    await using locked = await startLocked(password)
    const at = `redis://:${password}@127.0.0.1:${locked.port}/0`
    const [without, withAuth] = await Promise.all(
      [{}, { sentinelAuth: true }].map((more) =>
        probe(at, { topology: 'sentinel', sentinelMaster: 'locked', ...more }),
      ),
    )
    expect([without.error.code, without.error.message]).toEqual([
      'DB_INVALID_CREDENTIALS',
      expect.stringContaining('config.sentinelAuth'),
    ])
    expect(withAuth.ok).toBe(true)
  })

  const startLocked = async (password: string) => {
    const node = await group.start(
      [
        `requirepass ${password}`,
        `sentinel monitor locked 127.0.0.1 ${group.primary.port} 2`,
        `sentinel auth-pass locked ${password}`,
      ],
      'sentinel',
      password,
    )
    return { port: node.port, [Symbol.asyncDispose]: async () => node.kill() }
  }

  test('sentinel and primary are reached by TLS, and a certificate of another CA is refused', async () => {
    const { certificates } = stores()
    const folder = await mkdtemp(join(tmpdir(), 'bun-api-tls-'))
    const file = async (name: string, pem: string) => {
      await writeFile(join(folder, name), pem, { mode: 0o600 })
      return join(folder, name)
    }
    const tls = [
      'tls-port %bus%',
      `tls-cert-file ${await file('server.crt', certificates.server.cert)}`,
      `tls-key-file ${await file('server.key', certificates.server.key)}`,
      `tls-ca-cert-file ${await file('ca.crt', certificates.ca)}`,
      'tls-auth-clients no',
      'tls-replication yes',
    ]
    const primary = await group.start(tls)
    const monitored = [
      `sentinel monitor by-tls 127.0.0.1 ${primary.busPort} 1`,
      `sentinel auth-pass by-tls ${group.password}`,
    ]
    const sentinel = await group.start([...tls, ...monitored], 'sentinel')
    await rm(folder, { recursive: true })
    const url = `rediss://:${group.password}@127.0.0.1:${sentinel.busPort}/0`
    const config = { topology: 'sentinel', sentinelMaster: 'by-tls' }
    const [known, unknown] = await Promise.all(
      [certificates.ca, certificates.unrelatedCa].map((caCertificate) => probe(url, { ...config, caCertificate })),
    )
    expect([known.ok, known.stages.map(({ name }: { name: string }) => name)]).toEqual([
      true,
      ['policy', 'tcp', 'tls', 'auth', 'database', 'rights'],
    ])
    expect(unknown.error).toMatchObject({ code: 'DB_CONNECTION_FAILED', details: { reason: 'tls', stage: 'tls' } })
  })

  test('400 TARGET_NOT_ALLOWED where the dial policy denies the primary that a sentinel names', async () => {
    await using strict = await createTestApp({ env: { EGRESS_DENY: `127.0.0.1:${group.primary.port}` } })
    const { ok, error } = await probe(group.url, group.config, strict)
    expect([ok, error.code, error.details.stage]).toEqual([false, 'TARGET_NOT_ALLOWED', 'policy'])
  })

  test('400 other nodes without the credential: the stored password goes to no server it was not given for', async () => {
    const { config, password, url } = group
    const row = await app.register({ name: 'moved', type: 'redis', connectionString: url, config })
    const patch = async (changes: Readonly<Record<string, unknown>>) => {
      const { status, body } = await app.request('PATCH', `/api/platform/databases/${row.id}`, { body: changes })
      return [status, body.error?.details[0].field]
    }
    const stranger = '127.0.0.1:1'
    const refused = [
      await patch({ config: { ...config, nodes: [...config.nodes, stranger] } }),
      await patch({ config: { ...config, sentinelMaster: 'other' } }),
      await patch({ config: { ...config, sentinelAuth: true } }),
      await patch({ config: { topology: 'cluster', nodes: config.nodes } }),
      await patch({ config: {} }),
    ]
    expect(refused).toEqual(Array(5).fill([400, 'password']))
    expect(await patch({ config: { ...config, nodes: [...config.nodes, stranger] }, password })).toEqual([
      200,
      undefined,
    ])
    expect(await patch({ config, password })).toEqual([200, undefined])
  })

  test('400 a configuration that can not be', async () => {
    const register = async (config: Readonly<Record<string, unknown>>) => {
      const body = { projectRef: 'default', name: 'never', type: 'redis', connectionString: group.url, config }
      const answer = await app.request('POST', '/api/platform/databases', { body })
      return [answer.status, answer.body.error.code, answer.body.error.details[0].field]
    }
    const fields = await Promise.all([
      register({ topology: 'sentinel' }),
      register({ sentinelMaster: 'x' }),
      register({ topology: 'cluster', sentinelAuth: true }),
      register({ nodes: ['127.0.0.1:6379'] }),
      register({ ...group.config, nodes: ['user:password@127.0.0.1:6379'] }),
      register({ ...group.config, nodes: ['127.0.0.1:99999'] }),
      register({ topology: 'star' }),
    ])
    expect(fields).toEqual<unknown>(
      [
        'config.sentinelMaster',
        'config.sentinelMaster',
        'config.sentinelAuth',
        'config.nodes',
        'config.nodes.0',
        'config.nodes.0',
        'config.topology',
      ].map((field) => [400, 'VALIDATION_FAILED', field]),
    )
  })

  test('another sentinel is asked where the first is gone, and reads and writes are OK within 5 s of a failover', async () => {
    expect(await set('before', 'failover')).toBe('OK')
    await group.primary.run('wait', 1, 1_000)
    const [first, second] = group.sentinels as [RedisNode, RedisNode]
    group.primary.kill()
    await until(async () => (await group.primaryPort(second)) === group.replica.port)
    const elected = performance.now()
    first.kill()
    await until(async () => (await set('after', 'failover')) === 'OK')
    expect(performance.now() - elected).toBeLessThan(5_000)
    expect([await get('before'), await get('after')]).toEqual(['failover', 'failover'])
    expect(await group.replica.run('get', 'after')).toBe('failover')
  })
})
