import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { issueCertificate } from '#test/support/certificates.ts'
import { testPassword } from '#test/support/credentials.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type RedisGroup, type RedisNode, startRedisGroup } from '#test/support/redis-cluster.ts'
import { stores } from '#test/support/stores.ts'

const name = 'by-name'

describeWith('redisOpen', 'Redis behind a Sentinel that speaks TLS alone', () => {
  const { certificates, folder } = stores()
  const astray = new Map<string, string>()
  const resolve = async (host: string) => [astray.get(host) ?? '127.0.0.1']
  let group: RedisGroup
  let primary: RedisNode
  let sentinel: RedisNode
  let app: TestApp
  beforeAll(async () => {
    // It has no address in it: all that is dialled is verified by name.
    const pair = await issueCertificate(folder, 'DNS:localhost, DNS:sentinel.test')
    group = await startRedisGroup({ ...pair, ca: certificates.ca })
    primary = await group.start([])
    sentinel = await group.start(
      [
        'sentinel resolve-hostnames yes',
        'sentinel announce-hostnames yes',
        `sentinel monitor ${name} localhost ${primary.port} 1`,
        `sentinel auth-pass ${name} ${group.password}`,
      ],
      'sentinel',
    )
    app = await createTestApp({ overrides: { resolve } })
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await group?.[Symbol.asyncDispose]()
  })

  const url = (host = 'sentinel.test', credential = `:${group.password}`) =>
    `rediss://${credential}@${host}:${sentinel.port}/0`
  const config = (caCertificate = certificates.ca) => ({ topology: 'sentinel', sentinelMaster: name, caCertificate })
  const probe = async (connectionString: string, ca = certificates.ca) =>
    (
      await app.request('POST', '/api/platform/databases/test', {
        body: { type: 'redis', connectionString, config: config(ca) },
      })
    ).body

  test('reads and writes on the primary by the name that the sentinel announces', async () => {
    const { id } = await app.register({ name: 'by-name', type: 'redis', connectionString: url(), config: config() })
    const body = { key: 'greeting', value: 'hello' }
    expect((await app.request('POST', `/api/platform/redis/${id}/set`, { body })).status).toBe(200)
    expect((await app.request('GET', `/api/platform/redis/${id}/get?key=greeting`)).body.value).toBe('hello')
    expect(await primary.run('get', 'greeting')).toBe('hello')
  })

  test('is refused by another CA, and where the certificate does not name what is dialled', async () => {
    const reports = [
      await probe(url(), certificates.unrelatedCa),
      await probe(url('127.0.0.1')),
      await probe(url('other.test')),
    ]
    expect(reports.map(({ error }) => [error.code, error.details.reason])).toEqual(
      reports.map(() => ['DB_CONNECTION_FAILED', 'tls']),
    )
  })

  test('an ACL user of the primary works by its own rights', async () => {
    const password = testPassword()
    await primary.run('acl', 'setuser', 'app', 'on', `>${password}`, '~app:*', '+set', '+get')
    const connectionString = url(undefined, `app:${password}`)
    const { id } = await app.register({ name: 'acl', type: 'redis', connectionString, config: config() })
    const set = async (key: string) =>
      (await app.request('POST', `/api/platform/redis/${id}/set`, { body: { key, value: '1' } })).status
    expect([await set('app:1'), await set('other')]).toEqual([200, 400])
    expect((await probe(url(undefined, `app:${testPassword()}`))).error.code).toBe('DB_INVALID_CREDENTIALS')
  })

  test('400 TARGET_NOT_ALLOWED where the name of the primary leads where the dial policy forbids', async () => {
    astray.set('localhost', '169.254.1.1')
    const { error } = await probe(url())
    astray.clear()
    expect([error.code, error.details.stage]).toEqual(['TARGET_NOT_ALLOWED', 'policy'])
  })
})
