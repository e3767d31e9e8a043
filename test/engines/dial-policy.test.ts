import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { lookup } from 'node:dns/promises'
import { type EgressPolicy, parseEgressRule, refusalOf } from '#src/engines/egress.ts'
import { type EngineKind, engineKinds } from '#src/engines/index.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { type FakeServer, silent, startFakeServer } from '#test/support/fake-servers.ts'
import { stores } from '#test/support/stores.ts'
import { expectations } from './conformance.ts'

const always = [
  '169.254.169.254',
  '0.0.0.0',
  '0',
  '[::]',
  '[::ffff:169.254.169.254]',
  '[::ffff:a9fe:a9fe]',
  '[::a9fe:a9fe]',
  '[64:ff9b::a9fe:a9fe]',
  '[2002:a9fe:a9fe::]',
  '[fd00:ec2::254]',
  '[fe80::1]',
  '224.0.0.1',
  '255.255.255.255',
  'metadata.example',
  'some-answers.example',
]
const loopback = [
  '127.0.0.1',
  'localhost',
  '0x7f000001',
  '2130706433',
  '127.1',
  '0177.0.0.1',
  '127.255.255.254',
  '[::1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
]
const names: Readonly<Record<string, readonly string[]>> = {
  'metadata.example': ['169.254.169.254'],
  'some-answers.example': ['127.0.0.1', '169.254.169.254'],
}
const getaddrinfo = async (host: string) => (await lookup(host, { all: true })).map(({ address }) => address)
const resolve = async (host: string) => names[host] ?? (await getaddrinfo(host))

let server: FakeServer
beforeAll(async () => {
  server = await startFakeServer(silent)
})
afterAll(async () => {
  await server.close()
})

async function refusedEverywhere(app: TestApp, kind: EngineKind, hosts: readonly string[]): Promise<void> {
  for (const host of hosts) {
    const connectionString = expectations()[kind].url({ host, port: server.port })
    const body = { type: kind, connectionString }
    const report = await app.request('POST', '/api/platform/databases/test', { body })
    expect([host, report.status, report.body.ok, report.body.error.code]).toEqual([
      host,
      200,
      false,
      'TARGET_NOT_ALLOWED',
    ])
    expect(report.body.error.details).toEqual({ reason: 'policy', stage: 'policy' })
    const saving = { projectRef: 'default', name: 'forbidden', ...body }
    const refused = await app.request('POST', '/api/platform/databases', { body: saving })
    expect([host, refused.status, refused.body.error.code]).toEqual([host, 400, 'TARGET_NOT_ALLOWED'])
    expect(refused.text).not.toContain('169.254')
  }
  expect(server.dials).toBe(0)
}

describe('addresses that are always refused, EGRESS_ALLOW=* or not', () => {
  let app: TestApp
  beforeAll(async () => {
    app = await createTestApp({ overrides: { resolve } })
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
  })

  for (const kind of engineKinds) test(`400 and no connection for ${kind}`, () => refusedEverywhere(app, kind, always))

  test('400 for the own listening port, by every address of this machine', async () => {
    app.deps.policy.ownPort = server.port
    for (const kind of engineKinds) await refusedEverywhere(app, kind, loopback)
    app.deps.policy.ownPort = undefined
  })
})

describe('loopback in production', () => {
  test('400 and no connection, however it is spelled', async () => {
    await using app = await createTestApp({ registry: 'postgres18', env: { EGRESS_ALLOW: '' }, overrides: { resolve } })
    for (const kind of engineKinds) await refusedEverywhere(app, kind, loopback)
  })

  test('201 where EGRESS_ALLOW names it, with that port alone', async () => {
    const { port } = stores().postgres18
    const env = { EGRESS_ALLOW: `127.0.0.1:${port}` }
    await using app = await createTestApp({ registry: 'postgres18', env, overrides: { resolve } })
    await app.register({ name: 'allowed', type: 'postgres', connectionString: stores().postgres18.url })
    for (const kind of engineKinds) await refusedEverywhere(app, kind, ['127.0.0.1'])
  })
})

describe('DNS that changes its answer', () => {
  test('400 at the second dial, which is checked again', async () => {
    const answers = [['127.0.0.1'], ['169.254.169.254']]
    const rebinding = async (host: string) =>
      host === 'rebind.example' ? (answers.shift() ?? []) : await resolve(host)
    await using app = await createTestApp({ overrides: { resolve: rebinding } })
    const connectionString = expectations().redis.url({ host: 'rebind.example' })
    const { id } = await app.register({ name: 'rebinding', type: 'redis', connectionString })
    const answer = await app.request('GET', `/api/platform/redis/${id}/get?key=a`)
    expect([answer.status, answer.body.error.code]).toEqual([400, 'TARGET_NOT_ALLOWED'])
    expect(answers).toEqual([])
  })

  test('a resolver that hangs costs no more than the connect timeout', async () => {
    const stalls = () => new Promise<never>(() => undefined)
    await using app = await createTestApp({ overrides: { resolve: stalls }, env: { CONNECT_TIMEOUT_MS: '300' } })
    const started = performance.now()
    const body = { type: 'redis', connectionString: expectations().redis.url({ host: 'stalls.example' }) }
    const { body: report } = await app.request('POST', '/api/platform/databases/test', { body })
    expect(performance.now() - started).toBeLessThan(1_000)
    expect(report.error).toMatchObject({ code: 'DB_TIMEOUT', details: { stage: 'dns' } })
  })
})

describe('EGRESS_ALLOW and EGRESS_DENY', () => {
  const policy = (allow: readonly string[], deny: readonly string[] = []): EgressPolicy => ({
    allow: allow.map(rule),
    deny: deny.map(rule),
    srvSuffixes: [],
    loopbackAllowed: false,
    ownPort: undefined,
  })
  const rule = (text: string) => {
    const parsed = parseEgressRule(text)
    if ('problem' in parsed) throw new Error(parsed.problem)
    return parsed
  }
  const allowed = (given: EgressPolicy, host: string, address: string, port = 6379) =>
    refusalOf(given, host, address, port) === undefined

  test('an empty list allows private and public addresses, and no loopback', () => {
    const none = policy([])
    expect(['10.0.0.1', '192.168.1.1', 'fd12::1', '8.8.8.8'].map((ip) => allowed(none, ip, ip))).toEqual(
      Array(4).fill(true),
    )
    expect(allowed(none, 'localhost', '127.0.0.1')).toBe(false)
  })

  test('a list allows what matches by range, suffix and port, and nothing else', () => {
    const some = policy(['10.0.0.0/8', '.railway.internal', '192.168.1.5:6379', 'fd00::/8', '[::1]:6379'])
    expect([
      allowed(some, '10.1.2.3', '10.1.2.3'),
      allowed(some, '::ffff:10.1.2.3', '::ffff:10.1.2.3'),
      allowed(some, 'redis.railway.internal', '8.8.8.8'),
      allowed(some, 'redis.railway.internal.', '8.8.8.8'),
      allowed(some, 'fd12::1', 'fd12::1'),
      allowed(some, '::1', '::1', 6379),
      allowed(some, '192.168.1.5', '192.168.1.5', 6379),
    ]).toEqual(Array(7).fill(true))
    expect([
      allowed(some, '192.168.1.5', '192.168.1.5', 6380),
      allowed(some, 'evil-railway.internal', '8.8.8.8'),
      allowed(some, 'railway.internal.evil.example', '8.8.8.8'),
      allowed(some, '::1', '::1', 6380),
      allowed(some, '11.0.0.1', '11.0.0.1'),
    ]).toEqual(Array(5).fill(false))
  })

  test('a rule that would never match what it says is refused', () => {
    const wrong = ['10', '10.0.0', '10.0.0.300', '10.0.0/24', '10.0.0.0/33', '1.2.3.4:99999', '12345', '', 'a b']
    expect(wrong.filter((text) => !('problem' in parseEgressRule(text)))).toEqual([])
  })

  test('every spelling of a metadata address is one', () => {
    const spellings = [
      '::ffff:0:169.254.169.254',
      '64:ff9b:1::a9fe:a9fe',
      '2001:0:a9fe:a9fe::1',
      '168.63.129.16',
      '100.100.100.200',
      '192.0.0.192',
    ]
    expect(spellings.filter((ip) => allowed(policy(['*']), ip, ip))).toEqual([])
  })

  test('EGRESS_DENY beats EGRESS_ALLOW, and the fixed list beats both', () => {
    const both = policy(['*'], ['10.0.0.0/8', 'blocked.example', '*:25'])
    expect([
      allowed(both, '10.0.0.1', '10.0.0.1'),
      allowed(both, 'db.blocked.example', '8.8.8.8'),
      allowed(both, '8.8.8.8', '8.8.8.8', 25),
      allowed(both, '169.254.169.254', '169.254.169.254'),
      allowed(both, 'x', 'not an address'),
    ]).toEqual(Array(5).fill(false))
    expect(allowed(both, '8.8.8.8', '8.8.8.8')).toBe(true)
  })
})
