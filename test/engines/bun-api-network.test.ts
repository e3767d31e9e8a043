import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { lookup } from 'node:dns/promises'
import { createServer as createTlsServer } from 'node:tls'
import { engines } from '#src/engines/index.ts'
import { parseTarget, targetFromFields } from '#src/engines/target.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { type FakeServer, startFakeServer } from '#test/support/fake-servers.ts'
import { listenOnLoopback } from '#test/support/ports.ts'
import { canary, stores } from '#test/support/stores.ts'

const { bun_api: bunApi } = engines
const answers: string[][] = []
// The server listens on 127.0.0.1 alone.
const several: Record<string, readonly string[]> = {
  'six-and-four.example': ['::1', '127.0.0.1'],
  'two.example': ['127.0.0.2', '127.0.0.1'],
  'near.example': ['127.0.0.1'],
  'far.example': ['127.0.0.2'],
}
const resolve = async (host: string) => {
  if (host === 'rebind.example') return answers.shift() ?? ['169.254.169.254']
  if (host in several) return several[host] ?? []
  if (host.endsWith('.example')) return ['127.0.0.1']
  return (await lookup(host, { all: true })).map(({ address }) => address)
}
const page = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}'
let app: TestApp
let server: FakeServer
const received: string[] = []
beforeAll(async () => {
  app = await createTestApp({ overrides: { resolve } })
  server = await startFakeServer((socket) => {
    socket.on('data', (chunk: Buffer) => {
      received.push(chunk.toString('latin1'))
      socket.end(page)
    })
  })
})
afterAll(async () => {
  await server?.close()
  await app?.[Symbol.asyncDispose]()
})

let names = 0
const probe = async (connectionString: string, config: object = {}) =>
  (await app.request('POST', '/api/platform/databases/test', { body: { type: 'bun_api', connectionString, config } }))
    .body
const add = async (connectionString: string) => {
  const body = { projectRef: 'default', name: `network-${names++}`, type: 'bun_api', connectionString }
  return (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body.id
}

describe('the port of a URL without one', () => {
  test('is the scheme’s', () => {
    const port = (url: string) => parseTarget(bunApi, url, {}).port
    expect([port('http://h'), port('https://h'), port('https://h:8443'), port('https://h:80')]).toEqual([
      80, 443, 8443, 80,
    ])
    const fields = (tls: boolean) => targetFromFields(bunApi, { host: 'h', tls }, {}).port
    expect([fields(false), fields(true)]).toEqual([80, 443])
  })

  test('https://bun-server-production.up.railway.app, the platform’s example, is port 443 over TLS', () => {
    expect(parseTarget(bunApi, 'https://bun-server-production.up.railway.app', {})).toMatchObject({
      host: 'bun-server-production.up.railway.app',
      port: 443,
      tls: 'full',
      database: '',
    })
  })
})

describe('what is sent', () => {
  test('goes to the checked address, under the name that is registered', async () => {
    received.length = 0
    const report = await probe(`http://:${canary}@peer.example:${server.port}`)
    expect(report.ok).toBe(true)
    expect(received.length).toBe(3)
    for (const request of received) expect(request).toContain(`\r\nHost: peer.example:${server.port}\r\n`)
  })

  test('goes to the address that listens, of several', async () => {
    for (const host of ['six-and-four.example', 'two.example'])
      expect([host, (await probe(`http://:${canary}@${host}:${server.port}`)).ok]).toEqual([host, true])
  })

  test('goes to the address that was reached before, and to the next when that no longer listens', async () => {
    let others = 0
    const fetch = () => (others++, Response.json({}))
    const other = Bun.serve({ hostname: '127.0.0.2', port: server.port, fetch })
    const ask = async (id: string) => (await app.request('GET', `/api/platform/bun-api/${id}/health`)).status
    const [near, far] = [
      await add(`http://:${canary}@near.example:${server.port}`),
      await add(`http://:${canary}@far.example:${server.port}`),
    ]
    expect([await ask(near), others]).toEqual([200, 0])
    expect(await ask(far)).toBe(200)
    expect(others).toBeGreaterThan(0)
    const before = others
    several['near.example'] = ['127.0.0.2', '127.0.0.1']
    expect([await ask(near), others]).toEqual([200, before])
    await other.stop(true)
    several['far.example'] = ['127.0.0.2', '127.0.0.1']
    expect([await ask(far), others]).toEqual([200, before])
    several['far.example'] = ['127.0.0.2', '127.0.0.3']
    expect(await ask(far)).toBe(503)
  })

  test('400 at the request whose name resolves to a forbidden address, and no connection', async () => {
    answers.push(['127.0.0.1'], ['127.0.0.1'], ['169.254.169.254'])
    const id = await add(`http://:${canary}@rebind.example:${server.port}`)
    const before = server.dials
    const { status, body } = await app.request('GET', `/api/platform/bun-api/${id}/health`)
    expect([status, body.error.code, server.dials - before]).toEqual([400, 'TARGET_NOT_ALLOWED', 2])
  })

  test('never goes through HTTP_PROXY', async () => {
    await using proxy = await startFakeServer((socket) => void socket.end(page))
    const variables = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'ALL_PROXY']
    for (const name of variables) process.env[name] = `http://127.0.0.1:${proxy.port}`
    try {
      expect((await probe(`http://:${canary}@peer.example:${server.port}`)).ok).toBe(true)
    } finally {
      for (const name of variables) delete process.env[name]
    }
    expect(proxy.dials).toBe(0)
  })
})

describe('TLS', () => {
  test('is verified by the registered name, which is the SNI, not by the address', async () => {
    const { ca, other, unrelatedCa } = stores().certificates
    const asked: string[] = []
    const secure = createTlsServer(
      { ...other, SNICallback: (name, done) => (asked.push(name), done(null)) },
      (socket) => void socket.on('error', () => undefined).once('data', () => void socket.end(page)),
    )
    secure.on('tlsClientError', () => undefined)
    const port = await listenOnLoopback(secure)
    const url = (host: string) => `https://:${canary}@${host}:${port}`
    const outcome = async (host: string, caCertificate: string) => {
      const { ok, error } = await probe(url(host), { caCertificate })
      return ok || error.details
    }
    expect(await outcome('other.example', ca)).toBe(true)
    expect(new Set(asked)).toEqual(new Set(['other.example']))
    const refused = { reason: 'tls', stage: 'tls' }
    expect(await outcome('another.example', ca)).toEqual(refused)
    expect(await outcome('127.0.0.1', ca)).toEqual(refused)
    expect(await outcome('other.example', unrelatedCa)).toEqual(refused)
    await new Promise((resolve) => secure.close(resolve))
  })
})
