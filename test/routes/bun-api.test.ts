import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { bunApiPeer } from '#test/engines/bun-api-peer.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { canary } from '#test/support/stores.ts'

let app: TestApp
beforeAll(async () => {
  app = await createTestApp({ env: { MAX_VALUE_BYTES: '65536' } })
})
afterAll(async () => {
  await app?.[Symbol.asyncDispose]()
})

let names = 0
const add = async (connectionString: string) => {
  const body = { projectRef: 'default', name: `peer-${names++}`, type: 'bun_api', connectionString }
  return (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body.id
}
const get = (id: string, path: 'health' | 'info') => app.request('GET', `/api/platform/bun-api/${id}/${path}`)

type Answer = (request: Request) => Response | Promise<Response>

/** A web server with these paths, its requests recorded. */
function serve(paths: Readonly<Record<string, Answer>>) {
  const requests: { path: string; headers: Record<string, string> }[] = []
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request) {
      const { pathname } = new URL(request.url)
      requests.push({ path: pathname, headers: Object.fromEntries(request.headers) })
      return paths[pathname]?.(request) ?? new Response('nothing here', { status: 404 })
    },
  })
  const url = (path = '') => `http://:${canary}@127.0.0.1:${server.port}${path}`
  return { server, requests, url, [Symbol.asyncDispose]: () => server.stop(true) }
}
const ok = { '/health': () => Response.json({ status: 'ok' }), '/info': () => Response.json({ version: '9' }) }

describe('another instance of this server', () => {
  test('201, 200 health and 200 info', async () => {
    const { port, key } = bunApiPeer()
    const connectionString = `http://:${key}@127.0.0.1:${port}`
    const row = await app.register({ name: 'instance', type: 'bun_api', connectionString })
    expect(row).toMatchObject({ connection_string: `http://:****@127.0.0.1:${port}`, has_credentials: true })
    const health = await get(row.id, 'health')
    expect([health.status, health.body]).toEqual([
      200,
      { ok: true, status: 200, latency_ms: expect.any(Number), body: expect.any(Object) },
    ])
    const info = await get(row.id, 'info')
    expect([info.status, info.body]).toEqual([
      200,
      expect.objectContaining({ name: 'bun-api', version: expect.any(String), engines: expect.any(Array) }),
    ])
  })

  test('400 on registration and 424 on use with a wrong key', async () => {
    const connectionString = `http://:${canary}-wrong@127.0.0.1:${bunApiPeer().port}`
    const body = { projectRef: 'default', name: 'wrong-key', type: 'bun_api', connectionString }
    const refused = await app.request('POST', '/api/platform/databases', { body })
    expect([refused.status, refused.body.error.code]).toEqual([400, 'DB_INVALID_CREDENTIALS'])
    const { status, body: answer } = await get(await add(connectionString), 'health')
    expect([status, answer.error.code, answer.error.details]).toEqual([424, 'DB_INVALID_CREDENTIALS', { status: 401 }])
  })
})

describe('GET /bun-api/{databaseId}/health', () => {
  test('200 ok by the status, the body as it is', async () => {
    const bodies: readonly (readonly [Response, ok: boolean, body: unknown])[] = [
      [Response.json({ status: 'ok', nested: [1, null] }), true, { status: 'ok', nested: [1, null] }],
      [new Response('fine'), true, 'fine'],
      [new Response(null, { status: 204 }), true, null],
      [new Response('{"a":', { headers: { 'content-type': 'application/json' } }), true, '{"a":'],
      [new Response(new Uint8Array([0xff, 0x00])), true, { base64: '/wA=' }],
      [Response.json({ status: 'down' }, { status: 503 }), false, { status: 'down' }],
      [new Response('gone', { status: 410 }), false, 'gone'],
      [new Response('x', { status: 500, headers: { 'content-type': 'application/problem+json' } }), false, 'x'],
      [Response.json(JSON.parse('{"__proto__":{"a":1}}')), true, JSON.parse('{"__proto__":{"a":1}}')],
    ]
    let next = 0
    await using peer = serve({ ...ok, '/health': () => bodies[next]?.[0] ?? new Response() })
    const id = await add(peer.url())
    for (const [{ status: peerStatus }, isOk, body] of bodies) {
      const { status, text } = await get(id, 'health')
      expect([status, JSON.parse(text)]).toEqual([
        200,
        { ok: isOk, status: peerStatus, latency_ms: expect.any(Number), body },
      ])
      next++
    }
  })

  test('200 with the text of JSON that is nested too deep to embed', async () => {
    const json = `{"a":${'['.repeat(10_000)}${']'.repeat(10_000)}}`
    const headers = { 'content-type': 'application/json' }
    await using peer = serve({ ...ok, '/health': () => new Response(json, { headers }) })
    const { status, body } = await get(await add(peer.url()), 'health')
    expect([status, body.body]).toEqual([200, json])
  })

  test('200 below a base path, with the key as bearer and nothing of this server’s caller', async () => {
    await using peer = serve({ '/a%20b/v1/health': ok['/health'], '/a%20b/v1/info': ok['/info'] })
    const id = await add(peer.url('/a%20b/v1/'))
    expect((await get(id, 'health')).body.ok).toBe(true)
    expect(peer.requests.map(({ path }) => path)).toEqual(['/a%20b/v1/info', '/a%20b/v1/health'])
    for (const { headers } of peer.requests)
      expect(headers).toEqual({
        accept: 'application/json',
        'accept-encoding': 'identity',
        authorization: `Bearer ${canary}`,
        host: `127.0.0.1:${peer.server.port}`,
        'user-agent': expect.stringMatching(/^Bun/),
      })
  })

  test('no Authorization without a key', async () => {
    await using peer = serve(ok)
    await get(await add(`http://127.0.0.1:${peer.server.port}`), 'health')
    expect(peer.requests.map(({ headers }) => headers['authorization'])).toEqual([undefined, undefined])
  })
})

describe('GET /bun-api/{databaseId}/info', () => {
  test('400 DB_UNSUPPORTED for what is no JSON object', async () => {
    const answers = [
      () => Response.json([1]),
      () => Response.json('text'),
      () => Response.json(null),
      () => new Response('{}'),
      () => new Response('{', { headers: { 'content-type': 'application/json' } }),
      () => new Response(null, { status: 204 }),
      () => Response.json({}, { status: 500 }),
      () => new Response('none', { status: 404 }),
    ]
    let next = 0
    await using peer = serve({ ...ok, '/info': () => answers[next]?.() ?? new Response() })
    const id = await add(peer.url())
    for (; next < answers.length; next++) {
      const { status, body } = await get(id, 'info')
      expect([next, status, body.error?.code]).toEqual([next, 400, 'DB_UNSUPPORTED'])
    }
    const { body } = await app.request('POST', '/api/platform/databases/test', {
      body: { type: 'bun_api', connectionString: peer.url() },
    })
    expect(body.error).toMatchObject({ code: 'DB_UNSUPPORTED', details: { stage: 'rights' } })
  })
})

describe('a peer that is trouble', () => {
  test('503 and nothing sent there for a redirect, whatever its kind', async () => {
    await using elsewhere = serve(ok)
    for (const status of [301, 302, 303, 307, 308]) {
      const location = `http://127.0.0.1:${elsewhere.server.port}/health`
      await using peer = serve({ ...ok, '/health': () => new Response(null, { status, headers: { location } }) })
      const answer = await get(await add(peer.url()), 'health')
      expect([answer.status, answer.body.error.code, answer.body.error.details]).toEqual([
        503,
        'DB_CONNECTION_FAILED',
        { reason: 'protocol' },
      ])
      expect(answer.text).not.toContain('location')
    }
    expect(elsewhere.requests).toEqual([])
  })

  test('503 for a compressed answer, whose size nobody knows before', async () => {
    const bomb = Bun.gzipSync(new Uint8Array(50_000_000))
    for (const encoding of ['gzip', 'GZIP', 'br', 'zstd', 'identity, gzip']) {
      const headers = { 'content-encoding': encoding, 'content-type': 'application/json' }
      await using peer = serve({ '/health': () => new Response(bomb, { headers }), '/info': ok['/info'] })
      const { status, body } = await get(await add(peer.url()), 'health')
      expect([encoding, status, body.error.code, body.error.details]).toEqual([
        encoding,
        503,
        'DB_CONNECTION_FAILED',
        { reason: 'protocol' },
      ])
    }
    const plain = () => Response.json({}, { headers: { 'content-encoding': 'identity' } })
    await using peer = serve({ '/health': plain, '/info': ok['/info'] })
    expect((await get(await add(peer.url()), 'health')).body.body).toEqual({})
  })

  test('413 RESULT_TOO_LARGE for a long answer and one without an end', async () => {
    const endless = () =>
      new Response(
        new ReadableStream(
          { pull: (controller) => void controller.enqueue(new Uint8Array(65_536)) },
          { highWaterMark: 0 },
        ),
      )
    for (const answer of [() => new Response('x'.repeat(65_537)), endless]) {
      await using peer = serve({ '/health': answer, '/info': ok['/info'] })
      const id = await add(peer.url())
      Bun.gc(true)
      const before = process.memoryUsage.rss()
      const { status, body } = await get(id, 'health')
      expect([status, body.error.code]).toEqual([413, 'RESULT_TOO_LARGE'])
      expect(process.memoryUsage.rss() - before).toBeLessThan(30_000_000)
    }
  })

  test('504 at the deadline for slow headers and for a body that trickles', async () => {
    await using own = await createTestApp({ env: { REQUEST_TIMEOUT_MS: '600' } })
    const trickle = () =>
      new Response(
        new ReadableStream({
          async pull(controller) {
            await Bun.sleep(20)
            controller.enqueue(new Uint8Array([0x78]))
          },
        }),
      )
    for (const slow of [() => new Promise<Response>(() => undefined), trickle]) {
      await using peer = serve({ ...ok, '/health': slow })
      const row = { projectRef: 'default', name: `slow-${names++}`, type: 'bun_api', connectionString: peer.url() }
      const { id } = (await own.request('POST', '/api/platform/databases?skipTest=true', { body: row })).body
      const started = performance.now()
      const { status, body } = await own.request('GET', `/api/platform/bun-api/${id}/health`)
      expect([status, body.error.code]).toEqual([504, 'DB_TIMEOUT'])
      expect(performance.now() - started).toBeWithin(500, 1_000)
    }
  })

  test('503 when it is down, and 200 when it is back', async () => {
    const first = serve(ok)
    const id = await add(first.url())
    expect((await get(id, 'health')).status).toBe(200)
    const { port } = first.server
    await first.server.stop(true)
    const { status, body, headers } = await get(id, 'health')
    expect([status, body.error.code, headers.get('retry-after')]).toEqual([503, 'DB_CONNECTION_FAILED', '2'])
    const again = Bun.serve({ port: port ?? 0, hostname: '127.0.0.1', fetch: () => Response.json({}) })
    expect((await get(id, 'health')).status).toBe(200)
    await again.stop(true)
  })
})

describe('400', () => {
  test('for connection strings that are none', async () => {
    const listed = `
      redis://h ftp://h http:// https: http://a,b http://h:0 http://h?x=1 http://h#x http://h/../x
      http://h/%2e%2e/x http://h/./x http://h/a%00 http://u:p@w@h http://%2Ftmp%2Fx file:///etc/passwd
      http:/h //h`
    const wrong = [...listed.trim().split(/\s+/), 'http://h/ a', '']
    for (const connectionString of wrong) {
      const input = { projectRef: 'default', name: 'never', type: 'bun_api', connectionString }
      const { status, body } = await app.request('POST', '/api/platform/databases', { body: input })
      expect([connectionString, status, body.error.code]).toEqual([connectionString, 400, 'VALIDATION_FAILED'])
    }
  })

  test('for a key given as the user name, which is not repeated', async () => {
    const input = { type: 'bun_api', connectionString: `https://${canary}@peer` }
    const row = { projectRef: 'default', name: 'never', ...input }
    for (const [path, body] of [
      ['databases', row],
      ['databases?skipTest=true', row],
      ['databases/test', input],
    ] as const) {
      const { status, text, body: answer } = await app.request('POST', `/api/platform/${path}`, { body })
      expect([path, status, answer.error.code, answer.error.details[0].field]).toEqual([
        path,
        400,
        'VALIDATION_FAILED',
        'connectionString',
      ])
      expect(text).not.toContain(canary)
    }
  })

  test('404 for another engine’s id and an unknown one, 400 for what is no id', async () => {
    const redis = { projectRef: 'default', name: 'a-redis', type: 'redis', connectionString: 'redis://h' }
    const { id } = (await app.request('POST', '/api/platform/databases?skipTest=true', { body: redis })).body
    for (const path of ['health', 'info'] as const) {
      expect((await get(id, path)).body.error.code).toBe('DB_NOT_FOUND')
      expect((await get('00000000-0000-4000-8000-000000000000', path)).body.error.code).toBe('DB_NOT_FOUND')
      expect((await get('x', path)).body.error.details[0].field).toBe('databaseId')
    }
  })
})
