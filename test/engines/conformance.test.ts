import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type EngineKind, engineKinds, engines } from '#src/engines/index.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import {
  closesAtOnce,
  type FakeBehaviour,
  http,
  silent,
  sshBanner,
  startFakeServer,
} from '#test/support/fake-servers.ts'
import { postgresClosesAfterStartup } from '#test/support/fake-servers.ts'
import { stores } from '#test/support/stores.ts'
import { type Expectations, expectations, type FailingCase, type Place, resolve, wrongPassword } from './conformance.ts'

let app: TestApp
beforeAll(async () => {
  app = await createTestApp({ overrides: { resolve } })
})
afterAll(async () => {
  await app?.[Symbol.asyncDispose]()
})

interface Attempt extends Place {
  readonly config?: Readonly<Record<string, unknown>>
}

const peerBytes = /HTTP\/1\.1|Bad Request|OpenSSH|WRONGPASS |password authentication/

for (const kind of engineKinds) describe(`the ${kind} engine`, () => conforms(kind, expectations()[kind]))

describe('sslmode of PostgreSQL', () => {
  const { ca, port } = expectations().postgres
  const connect = async (host: string, mode: string, caCertificate?: string) => {
    const { user, password } = stores().postgres18
    const connectionString = `postgres://${user}:${password}@${host}:${port}/postgres?sslmode=${mode}`
    const config = caCertificate === undefined ? {} : { caCertificate }
    const { body } = await app.request('POST', '/api/platform/databases/test', {
      body: { type: 'postgres', connectionString, config },
    })
    return body.ok
  }

  test('verify-ca checks the issuer, verify-full the name as well, require neither', async () => {
    const other = stores().certificates.unrelatedCa
    const modes = ['require', 'verify-ca', 'verify-full']
    const by = (host: string, given?: string) => Promise.all(modes.map((mode) => connect(host, mode, given)))
    expect(await by('localhost', ca)).toEqual([true, true, true])
    expect(await by('elsewhere.example', ca)).toEqual([true, true, false])
    expect(await by('localhost', other)).toEqual([true, false, false])
    expect(await by('localhost')).toEqual([true, false, false])
  })
})

function conforms(kind: EngineKind, expected: Expectations): void {
  const plainStages = ['policy', 'tcp', 'auth', 'database', 'rights']
  const body = ({ config, ...place }: Attempt) => ({
    type: kind,
    connectionString: expected.url(place),
    ...(config === undefined ? {} : { config }),
  })
  const probe = async (attempt: Attempt) =>
    (await app.request('POST', '/api/platform/databases/test', { body: body(attempt) })).body

  test('registers, pings and says what it is', async () => {
    const row = await app.register({ name: `conformance-${kind.replace('_', '-')}`, ...body({}) })
    const info = await app.request('GET', `/api/platform/databases/${row.id}/info`)
    expect(info.body).toEqual({
      product: expected.product,
      version: expect.stringMatching(/^\d+\./),
      uptime_seconds: expect.any(Number),
      size_bytes: expected.sized ? expect.any(Number) : null,
      role: expected.role,
      engine: expect.any(Object),
      warnings: expect.any(Array),
    })
    expect((await app.request('POST', `/api/platform/databases/${row.id}/test`)).body.ok).toBe(true)
  })

  test('a probe times every stage, in order', async () => {
    expect(await probe({})).toEqual({
      ok: true,
      latency_ms: expect.any(Number),
      server: { product: expected.product, version: expect.any(String) },
      stages: plainStages.map((name) => ({ name, ok: true, ms: expect.any(Number) })),
      warnings: expect.any(Array),
    })
  })

  test('a probe by name and over TLS has the stages dns and tls too', async () => {
    const { stages } = await probe({
      host: 'localhost',
      port: expected.tlsPort,
      tls: 'full',
      config: { caCertificate: expected.ca },
    })
    expect(stages.map(({ name }: { name: string }) => name)).toEqual([
      'policy',
      'dns',
      'tcp',
      'tls',
      'auth',
      'database',
      'rights',
    ])
  })

  for (const name of Object.keys(expected.outcomes) as FailingCase[]) {
    const outcome = expected.outcomes[name]
    if (outcome === null) continue
    test(`400 on register and ok: false on test: ${name}`, async () => {
      await using attempt = await arrange(name, expected)
      const registering = { projectRef: 'default', name: 'never-saved', ...body(attempt.place) }
      const started = performance.now()
      const [report, refused] = await Promise.all([
        probe(attempt.place),
        app.request('POST', '/api/platform/databases', { body: registering }),
      ])
      expect(performance.now() - started).toBeLessThan(5_000)
      expect(report.ok).toBe(false)
      expect(report.error).toMatchObject({
        code: outcome.code,
        details: { stage: outcome.stage, ...(outcome.reason === undefined ? {} : { reason: outcome.reason }) },
      })
      expect(report.stages.at(-1)).toMatchObject({ name: outcome.stage, ok: false })
      expect(refused.status).toBe(400)
      expect(refused.body.message).toBe(report.error.message)
      expect(refused.body.error).toMatchObject({ code: outcome.code, details: { stage: outcome.stage } })
      expect(JSON.stringify(report) + refused.text).not.toMatch(peerBytes)
      const listed = await app.request('GET', '/api/platform/databases?search=never-saved')
      expect(listed.body).toEqual([])
    })
  }

  if ('problem' in engines[kind].options.withTls('unverified')) return
  test('TLS is accepted unverified where that is asked for, and warned about', async () => {
    const report = await probe({ port: expected.tlsPort, tls: 'unverified' })
    expect(report.ok).toBe(true)
    expect(report.warnings.join()).toContain('not verified')
  })
}

async function arrange(
  name: FailingCase,
  { port, tlsPort, ca, otherPort, missingDatabase }: Expectations,
): Promise<{ place: Attempt } & AsyncDisposable> {
  const at = (place: Attempt) => ({ place, [Symbol.asyncDispose]: async () => undefined })
  const fake = async (behaviour: FakeBehaviour, place: Attempt = {}) => {
    const server = await startFakeServer(behaviour)
    return { place: { ...place, port: server.port }, [Symbol.asyncDispose]: () => server.close() }
  }
  switch (name) {
    case 'wrong password':
      return at({ password: wrongPassword })
    case 'closed port': {
      const { place, [Symbol.asyncDispose]: close } = await fake(silent)
      await close()
      return at(place)
    }
    case 'silent server':
      return fake(silent)
    case 'web server':
      return fake(http)
    case 'SSH server':
      return fake(sshBanner)
    case 'server that closes at once':
      return fake(closesAtOnce)
    case 'store of another engine':
      return at({ port: otherPort })
    case 'TLS asked of a plain server':
      return tlsPort === port ? fake(postgresClosesAfterStartup, { tls: 'full' }) : at({ port, tls: 'full' })
    case 'no TLS to a TLS port':
      return at({ port: tlsPort })
    case 'certificate of an unknown CA':
      return at({ port: tlsPort, tls: 'full', config: { caCertificate: stores().certificates.unrelatedCa } })
    case 'certificate for another host':
      return at({ host: 'elsewhere.example', port: tlsPort, tls: 'full', config: { caCertificate: ca } })
    case 'missing database':
      return at(missingDatabase ?? {})
    case 'unknown host name':
      return at({ host: 'no-such-host.invalid' })
  }
}
