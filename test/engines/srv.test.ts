import { describe, expect, test } from 'bun:test'
import { callWithin } from '#src/engines/engine.ts'
import { resolveSrv, type SrvResolver } from '#src/engines/srv.ts'
import type { ApiError } from '#src/errors.ts'
import { createTestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { fakeMongod, silent, startFakeServer } from '#test/support/fake-servers.ts'
import { canary } from '#test/support/stores.ts'

const missing = (code: string) => Promise.reject(Object.assign(new Error('query failed'), { code }))
const records = (...hosts: readonly string[]) =>
  hosts.map((host) => ({ name: host.split(':')[0] ?? '', port: Number(host.split(':')[1] ?? 27_017) }))
const dns = (hosts: readonly string[], ...texts: readonly string[]): SrvResolver => ({
  srv: async () => records(...hosts),
  txt: () => (texts.length === 0 ? missing('ENODATA') : Promise.resolve(texts.map((text) => [text]))),
})
const ask = async (host: string, resolver: SrvResolver, suffixes = ['mongodb.net']) => {
  using call = callWithin(500)
  return await resolveSrv(host, suffixes, resolver, call).catch((error: ApiError) => [error.code, error.details])
}
const name = 'cluster.abc.mongodb.net'
const refused = ['TARGET_NOT_ALLOWED', { reason: 'policy' }]
const unusable = ['DB_CONNECTION_FAILED', { reason: 'dns' }]

describe('mongodb+srv', () => {
  test('hosts and ports come from the SRV record, options from the TXT record', async () => {
    const asked: string[] = []
    const resolver: SrvResolver = {
      srv: async (query) => (asked.push(query), records('A.abc.mongodb.net.:27016', 'b.abc.mongodb.net')),
      txt: async (query) => (asked.push(query), [['authSource=admin&', 'replicaSet=atlas-0']]),
    }
    expect(await ask(`${name}.`, resolver)).toEqual({
      hosts: [
        { host: 'a.abc.mongodb.net', port: 27_016 },
        { host: 'b.abc.mongodb.net', port: 27_017 },
      ],
      options: { authSource: 'admin', replicaSet: 'atlas-0' },
    })
    expect(asked).toEqual([`_mongodb._tcp.${name}`, name])
  })

  test('is refused for a name outside the suffixes, before anything is resolved', async () => {
    const never: SrvResolver = { srv: () => Promise.reject(new Error('asked')), txt: () => Promise.reject(new Error()) }
    for (const host of ['evil.example', 'mongodb.net', 'xmongodb.net', 'a.xmongodb.net', 'mongodb.net.evil.example'])
      expect([host, await ask(host, never)]).toEqual([host, refused])
    expect(await ask('db.internal.example', dns(['a.internal.example']), ['.internal.example'])).toMatchObject({
      hosts: [{ host: 'a.internal.example', port: 27_017 }],
    })
  })

  test('is refused when a host lies outside the domain of the name', async () => {
    for (const host of [
      'evil.example',
      'xabc.mongodb.net',
      'other.mongodb.net',
      'abc.mongodb.net.evil.example',
      '127.0.0.1',
    ])
      expect([host, await ask(name, dns([`a.abc.mongodb.net`, host]))]).toEqual([host, refused])
  })

  test('is unusable with a record that is no host and port', async () => {
    for (const host of ['-.abc.mongodb.net', 'a b.abc.mongodb.net', 'a/b.abc.mongodb.net', 'a.abc.mongodb.net:0'])
      expect([host, await ask(name, dns([host]))]).toEqual([host, unusable])
  })

  test('is unusable without a record, with too many, and with a TXT record that holds anything else', async () => {
    const many = Array.from({ length: 51 }, (_, n) => `h${n}.abc.mongodb.net`)
    const one = ['a.abc.mongodb.net']
    for (const resolver of [
      dns([]),
      dns(many),
      { ...dns(one), srv: () => missing('ENOTFOUND') },
      { ...dns(one), txt: () => missing('ESERVFAIL') },
      dns(one, 'authSource=admin', 'replicaSet=x'),
      dns(one, 'tlsCAFile=/etc/passwd'),
      dns(one, 'authMechanism=PLAIN'),
      dns(one, 'loadBalanced=true'),
      dns(one, 'authSource=$external'),
      dns(one, 'replicaSet=a b'),
      dns(one, 'authSource=a&authSource=b'),
    ])
      expect(await ask(name, resolver)).toEqual(unusable)
    expect(await ask(name, dns(one, 'loadBalanced=false'))).toMatchObject({ options: {} })
  })

  test('a resolver that hangs is a timeout', async () => {
    const hang = () => new Promise<never>(() => undefined)
    expect(await ask(name, { srv: hang, txt: hang })).toEqual(['DB_TIMEOUT', { reason: 'timeout' }])
  })
})

describe('a database behind mongodb+srv', () => {
  const attempt = async (
    hosts: readonly string[],
    resolve: (host: string) => Promise<readonly string[]>,
    text = '',
  ) => {
    const srv = dns(hosts, ...(text === '' ? [] : [text]))
    await using app = await createTestApp({ overrides: { srv, resolve } })
    const connectionString = `mongodb+srv://u:${canary}@${name}/app?tls=false`
    const { body } = await app.request('POST', '/api/platform/databases/test', {
      body: { type: 'mongodb', connectionString },
    })
    return body
  }

  test('ok: false when one host resolves to a forbidden address, and none is dialled', async () => {
    await using server = await startFakeServer(silent)
    const at = (host: string) => `${host}.abc.mongodb.net:${server.port}`
    const report = await attempt([at('a'), at('b')], async (host) =>
      host.startsWith('a.') ? ['127.0.0.1'] : ['169.254.169.254'],
    )
    expect(report.error).toMatchObject({ code: 'TARGET_NOT_ALLOWED', details: { stage: 'policy' } })
    expect(server.dials).toBe(0)
  })

  test('ok: false when its server is not of the replica set of the TXT record', async () => {
    await using server = await startFakeServer(fakeMongod(() => ({ setName: 'other' })))
    const report = await attempt([`a.abc.mongodb.net:${server.port}`], async () => ['127.0.0.1'], 'replicaSet=rs0')
    expect(report.error).toMatchObject({ code: 'DB_CONNECTION_FAILED', details: { reason: 'protocol', stage: 'auth' } })
  })
})

describeWith('mongo', 'a real replica set behind mongodb+srv', (store) => {
  test('201, with the port of the record and the set of the TXT record', async () => {
    const srv = dns([`a.abc.mongodb.net:${store.port}`], `replicaSet=${store.replicaSet}`)
    await using app = await createTestApp({ overrides: { srv, resolve: async () => ['127.0.0.1'] } })
    const row = await app.register({
      name: 'srv',
      type: 'mongodb',
      connectionString: `mongodb+srv://${name}/app?tls=false`,
    })
    expect(row).toMatchObject({ host: name, connection_string: expect.stringMatching(/^mongodb\+srv:/) })
    const listed = await app.request('GET', `/api/platform/mongodb/${row.id}/databases`)
    expect([listed.status, Array.isArray(listed.body.data)]).toEqual([200, true])
    const { body } = await app.request('GET', `/api/platform/databases/${row.id}/info`)
    expect(body.engine.replica_set).toBe(store.replicaSet)
  })
})
