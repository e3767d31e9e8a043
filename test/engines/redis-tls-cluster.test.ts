import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { slotOfKey } from '#src/engines/redis/topology/cluster-slots.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { issueCertificate } from '#test/support/certificates.ts'
import { testPassword } from '#test/support/credentials.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type RedisCluster, type RedisNode, startCluster, until } from '#test/support/redis-cluster.ts'
import { stores } from '#test/support/stores.ts'

const domain = 'cluster.test'
const linkLocal = '169.254.1.1'

/** Of CLUSTER SLOTS: first and last slot, host and port of the primary. */
type SlotRange = readonly [number, number, readonly [string, number]]

describeWith('redisOpen', 'a Redis Cluster that speaks TLS alone', () => {
  const { certificates, folder: authority } = stores()
  const caCertificate = certificates.ca
  const asked = new Set<string>()
  /** Names that lead elsewhere than to this machine. */
  const astray = new Map<string, string>()
  const resolve = async (host: string) => {
    asked.add(host)
    return [astray.get(host) ?? '127.0.0.1']
  }
  let cluster: RedisCluster
  let app: TestApp
  let id: string
  beforeAll(async () => {
    const pair = await issueCertificate(authority, `IP:127.0.0.1, DNS:*.${domain}`)
    cluster = await startCluster(3, 0, { ...pair, ca: certificates.ca })
    app = await createTestApp({ overrides: { resolve } })
    id = await register('tls')
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await cluster?.[Symbol.asyncDispose]()
  })

  const register = async (name: string, url = cluster.url, on = app, nodes = cluster.config.nodes) =>
    (
      await on.register({
        name,
        type: 'redis',
        connectionString: url,
        config: { topology: 'cluster', nodes, caCertificate },
      })
    ).id
  const probe = async (config: Readonly<Record<string, unknown>>, connectionString = cluster.url) =>
    (await app.request('POST', '/api/platform/databases/test', { body: { type: 'redis', connectionString, config } }))
      .body
  const path = (route: string, of = id) => `/api/platform/redis/${of}/${route}`
  const set = async (key: string, of = id) => {
    const { status, body } = await app.request('POST', path('set', of), { body: { key, value: `value of ${key}` } })
    return status === 200 ? 'OK' : body.error.code
  }
  const get = async (key: string, of = id) => {
    const { status, body } = await app.request('GET', path(`get?key=${key}`, of))
    return status === 200 ? body.value : body.error.code
  }
  const walk = async (prefix: string, of = id) => {
    const found: string[] = []
    for (let cursor: string | null = ''; cursor !== null;) {
      const more = cursor === '' ? '' : `&cursor=${cursor}`
      const { status, body } = await app.request('GET', path(`keys?pattern=${prefix}:*&count=10${more}`, of))
      expect(status).toBe(200)
      found.push(...body.data.map(({ key }: { key: string }) => key))
      cursor = body.pagination.next_cursor
    }
    return found.toSorted()
  }
  const names = (prefix: string, count: number) =>
    Array.from({ length: count }, (_, at) => `${prefix}:${at}`).toSorted()
  const ownersOf = (keys: readonly string[]) => Promise.all(keys.map((key) => cluster.ownerOf(slotOfKey(key))))
  /** What became of each key: as said where the node is its owner, its value elsewhere. */
  const told = async (keys: readonly string[], of: RedisNode, said: string) => {
    const owners = await ownersOf(keys)
    expect(new Set(owners).size).toBe(3)
    return owners.map((owner, at) => (owner === of ? said : `value of ${keys[at]}`))
  }
  const node = (at: number) => cluster.nodes[at] as RedisNode
  /** Moves a key's slot, and returns when all nodes have heard of it. */
  const move = async (key: string, given?: RedisNode) => {
    const from = await cluster.ownerOf(slotOfKey(key))
    const to = given ?? (cluster.nodes.find((one) => one !== from) as RedisNode)
    await (await cluster.beginMove(slotOfKey(key), to, [key])).finish()
    expect(await to.run('exists', key)).toBe(1)
    await until(async () => {
      const maps = await Promise.all(cluster.nodes.map((each) => each.run('cluster', 'slots')))
      return maps.every((map) => portOf(map as readonly SlotRange[], slotOfKey(key)) === to.port)
    })
  }
  const portOf = (map: readonly SlotRange[], slot: number) =>
    map.find(([first, last]) => first <= slot && slot <= last)?.[2][1]
  const usesEveryNode = async (of: string, prefix: string) => {
    const keys = names(prefix, 40)
    expect(new Set(await Promise.all(keys.map((key) => set(key, of))))).toEqual(new Set(['OK']))
    expect(new Set(await ownersOf(keys)).size).toBe(3)
    expect(await Promise.all(keys.map((key) => get(key, of)))).toEqual(keys.map((key) => `value of ${key}`))
    expect(await walk(prefix, of)).toEqual(keys)
    await move(`${prefix}:0`)
    expect(await get(`${prefix}:0`, of)).toBe(`value of ${prefix}:0`)
    expect(await walk(prefix, of)).toEqual(keys)
    const { body } = await app.request('POST', `/api/platform/databases/${of}/test`)
    expect([body.ok, body.warnings]).toEqual([true, []])
    expect(body.stages.map(({ name }: { name: string }) => name)).toContain('tls')
  }
  /** Another certificate for one node, as long as the work runs; connections that stand stay. */
  const withCertificate = async (of: RedisNode, subjectAltName: string, work: () => Promise<void>) => {
    const folder = await mkdtemp(join(tmpdir(), 'bun-api-tls-'))
    const before = (await of.run('config', 'get', 'tls-*-file')) as Readonly<Record<string, string>> | string[]
    const old = Array.isArray(before) ? before : Object.entries(before).flat()
    try {
      const pair = await issueCertificate(authority, subjectAltName)
      const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
      await Promise.all([writeFile(cert, pair.cert), writeFile(key, pair.key, { mode: 0o600 })])
      await of.run('config', 'set', 'tls-cert-file', cert, 'tls-key-file', key)
      await work()
    } finally {
      const file = (name: string) => old[old.indexOf(name) + 1] ?? ''
      await of.run('config', 'set', ...['tls-cert-file', 'tls-key-file'].flatMap((name) => [name, file(name)]))
      await rm(folder, { recursive: true })
    }
  }

  test('reads, writes and walks keys on every node by its address, and follows a slot that moved', () =>
    usesEveryNode(id, 'address'))

  test('503 with the reason tls where the CA is another, or none is given', async () => {
    const { config } = cluster
    const reports = [await probe({ ...config, caCertificate: certificates.unrelatedCa }), await probe(config)]
    expect(reports.map(({ ok, error }) => [ok, error.code, error.details.reason, error.details.stage])).toEqual(
      reports.map(() => [false, 'DB_CONNECTION_FAILED', 'tls', 'tls']),
    )
  })

  test('says that these ports expect TLS to who comes without', async () => {
    const { ok, error } = await probe(cluster.config, cluster.url.replace('rediss:', 'redis:'))
    expect([ok, error.code]).toEqual([false, 'DB_CONNECTION_FAILED'])
  })

  test('503 for the keys of a node whose certificate does not name its address, 200 for all others', async () => {
    const keys = names('address', 12)
    for (const name of [`DNS:*.${domain}, DNS:localhost`, 'IP:127.0.0.2'])
      await withCertificate(node(1), name, async () => {
        const of = await register(`certificate-${name.length}`)
        expect(await Promise.all(keys.map((key) => get(key, of)))).toEqual(await told(keys, node(1), 'DB_UNAVAILABLE'))
        const { body } = await app.request('GET', `/api/platform/databases/${of}/info`)
        expect(body.warnings.join()).toContain('1 of the 3 primaries can not be reached')
      })
  })

  test('an ACL user has its own rights and no others; a wrong password is refused by its code', async () => {
    const password = testPassword()
    const rights = ['~acl:*', '+get', '+set', '+getrange', '+pttl', '+cluster|slots']
    await Promise.all(cluster.nodes.map((each) => each.run('acl', 'setuser', 'app', 'on', `>${password}`, ...rights)))
    const as = (secret: string) => cluster.url.replace(/:[^:@/]*@/, `app:${secret}@`)
    const of = await register('acl', as(password))
    const keys = names('acl', 12)
    expect(new Set(await Promise.all(keys.map((key) => set(key, of))))).toEqual(new Set(['OK']))
    expect(new Set(await ownersOf(keys)).size).toBe(3)
    expect(await Promise.all(keys.map((key) => get(key, of)))).toEqual(keys.map((key) => `value of ${key}`))
    const foreign = await app.request('GET', path('get?key=address:0', of))
    expect([foreign.status, foreign.body.error.details]).toEqual([400, { code: 'NOPERM' }])
    const { error } = await probe({ ...cluster.config, caCertificate }, as(testPassword()))
    expect([error.code, error.details.stage]).toEqual(['DB_INVALID_CREDENTIALS', 'auth'])
  })

  describe('whose nodes announce host names, as managed services do', () => {
    const hostOf = (at: number) => `node-${at}.${domain}`
    const entry = () => cluster.url.replace('127.0.0.1', `clustercfg.${domain}`)
    const announce = async (hosts: readonly string[], type = 'hostname') => {
      await Promise.all(
        cluster.nodes.map((each, at) =>
          each.run(
            'config',
            'set',
            'cluster-announce-hostname',
            hosts[at] ?? '',
            'cluster-preferred-endpoint-type',
            type,
          ),
        ),
      )
      await until(async () => {
        const maps = await Promise.all(cluster.nodes.map((each) => each.run('cluster', 'slots')))
        return maps.every((map) => hosts.every((host) => JSON.stringify(map).includes(`"${host}"`)))
      })
    }
    beforeAll(() => announce([0, 1, 2].map(hostOf)))
    afterAll(() => announce([], 'ip'))

    test('reads, writes and walks keys on every node by its name, and follows a slot that moved', async () => {
      asked.clear()
      await withCertificate(node(0), `DNS:*.${domain}`, async () => {
        await usesEveryNode(await register('names', entry(), app, []), 'name')
      })
      expect([...asked].toSorted()).toEqual([`clustercfg.${domain}`, hostOf(0), hostOf(1), hostOf(2)])
    })

    test('503 for the keys of a node whose certificate names another host, 200 for all others', async () => {
      const keys = names('name', 12)
      await withCertificate(node(1), `DNS:${hostOf(2)}, IP:127.0.0.1`, async () => {
        const of = await register('misnamed', entry(), app, [])
        expect(await Promise.all(keys.map((key) => get(key, of)))).toEqual(await told(keys, node(1), 'DB_UNAVAILABLE'))
      })
    })

    test('400 TARGET_NOT_ALLOWED for the keys of a node whose name leads where the dial policy forbids, moved ones too', async () => {
      const keys = names('name', 12)
      astray.set(hostOf(1), linkLocal)
      const of = await register('astray', entry(), app, [])
      expect(await Promise.all(keys.map((key) => get(key, of)))).toEqual(
        await told(keys, node(1), 'TARGET_NOT_ALLOWED'),
      )
      const { body } = await app.request('GET', `/api/platform/databases/${of}/info`)
      expect(body.warnings.join()).toContain('dial policy does not allow 1 of the 3')
      const other = (await ownersOf(keys)).findIndex((owner) => owner !== node(1))
      const key = keys[other] as string
      await move(key, node(1))
      expect(await get(key, of)).toBe('TARGET_NOT_ALLOWED')
      astray.clear()
    })

    test('a node that has no name yet is reached by its address', async () => {
      const keys = names('name', 12)
      await node(1).run('config', 'set', 'cluster-announce-hostname', '')
      await until(async () => JSON.stringify(await node(0).run('cluster', 'slots')).includes('"?"'))
      await withCertificate(node(1), 'IP:127.0.0.1', async () => {
        const of = await register('nameless', entry(), app, [])
        expect(await Promise.all(keys.map((key) => get(key, of)))).toEqual(keys.map((key) => `value of ${key}`))
      })
    })
  })
})
