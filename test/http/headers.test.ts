import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createTestApp, type TestApp } from '#test/support/app.ts'

const studio = 'https://studio.example.com'
const route = '/api/platform/organizations'
let closed: TestApp
let shared: TestApp
beforeAll(async () => {
  closed = await createTestApp()
  shared = await createTestApp({ env: { CORS_ORIGINS: `${studio}, http://localhost:8082` } })
}, 60_000)
afterAll(async () => {
  await closed[Symbol.asyncDispose]()
  await shared[Symbol.asyncDispose]()
})

/** One of each kind of answer. */
const answers: readonly (readonly [string, string, string, number, { body?: unknown; key?: null }?])[] = [
  ['an answer', 'GET', route, 200],
  ['a created row', 'POST', route, 201, { body: { name: 'a', slug: `s-${crypto.randomUUID()}` } }],
  ['health', 'GET', '/health', 200, { key: null }],
  ['the document', 'GET', '/openapi.json', 200, { key: null }],
  ['the page', 'GET', '/docs', 200, { key: null }],
  ['a HEAD', 'HEAD', route, 200],
  ['a 400', 'POST', route, 400, { body: '{' }],
  ['a 401', 'GET', route, 401, { key: null }],
  ['a 404', 'GET', '/nothing', 404],
  ['a 405', 'PUT', route, 405],
  ['a 413', 'POST', route, 413, { body: JSON.stringify({ name: 'x'.repeat(1_100_000) }) }],
  ['a 414', 'GET', `/${'x'.repeat(9_000)}`, 414],
]

describe('every answer', () => {
  for (const [name, method, path, status, options] of answers) {
    const large = status === 413 ? { 'content-length': '1100011' } : {}
    test(`keeps the request's id, forbids storing and framing: ${name}`, async () => {
      const id = crypto.randomUUID()
      const answer = await closed.request(method, path, { ...options, headers: { ...large, 'x-request-id': id } })
      expect({
        status: answer.status,
        id: answer.headers.get('x-request-id'),
        inBody: answer.body?.error?.requestId ?? id,
        caching: answer.headers.get('cache-control'),
        sniffing: answer.headers.get('x-content-type-options'),
        framing: answer.headers.get('x-frame-options'),
        referrer: answer.headers.get('referrer-policy'),
        policy: answer.headers.get('content-security-policy'),
        poweredBy: answer.headers.get('x-powered-by'),
        sharing: answer.headers.get('access-control-allow-origin'),
      }).toEqual({
        status,
        id,
        inBody: id,
        caching: 'no-store',
        sniffing: 'nosniff',
        framing: 'SAMEORIGIN',
        referrer: 'no-referrer',
        policy: expect.stringContaining("default-src 'none'"),
        poweredBy: null,
        sharing: null,
      })
    })
  }

  for (const [name, given] of [
    ['none', undefined],
    ['one too long', 'x'.repeat(129)],
    ['one with a space', 'a b'],
    ['one with a line break in it', 'a%0d%0aSet-Cookie: a=b'],
    ['markup', '<script>'],
    ['JSON', '{"a":1}'],
  ] as const) {
    test(`gets an id of its own instead of ${name}`, async () => {
      const { headers } = await closed.request('GET', '/health', {
        headers: given === undefined ? {} : { 'x-request-id': given },
      })
      expect(headers.get('x-request-id')).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    })
  }

  test('is one log line with its id, route and status, and neither query nor body', async () => {
    const id = crypto.randomUUID()
    await closed.request('GET', '/api/platform/databases?search=needle', { headers: { 'x-request-id': id } })
    const lines = closed.logLines.filter((line) => line.includes(id)).map((line) => JSON.parse(line) as unknown)
    expect(lines).toEqual([
      {
        level: 'info',
        time: expect.any(String),
        event: 'request',
        request_id: id,
        method: 'GET',
        route: '/api/platform/databases',
        status: 200,
        ms: expect.any(Number),
        access: 'read',
        operation: 'read',
      },
    ])
  })
})

describe('another origin', () => {
  const preflight = (app: TestApp, origin: string) =>
    app.request('OPTIONS', route, {
      key: null,
      headers: { origin, 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'authorization' },
    })

  test('401 a preflight while none is configured', async () => {
    const { status, headers } = await preflight(closed, studio)
    expect({ status, allowed: headers.get('access-control-allow-origin') }).toEqual({ status: 401, allowed: null })
  })

  test('204 a preflight of a configured origin, without a key', async () => {
    const { status, headers } = await preflight(shared, studio)
    expect({
      status,
      origin: headers.get('access-control-allow-origin'),
      methods: headers.get('access-control-allow-methods')?.split(','),
      headers: headers.get('access-control-allow-headers')?.split(','),
    }).toEqual({
      status: 204,
      origin: studio,
      methods: expect.arrayContaining(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']),
      headers: expect.arrayContaining(['authorization', 'apikey', 'content-type', 'if-match', 'idempotency-key']),
    })
  })

  for (const origin of [
    'https://evil.example.com',
    'https://studio.example.com.evil.com',
    'http://studio.example.com',
    'https://studio.example.com:8443',
    'https://STUDIO.example.com',
    'null',
    'http://localhost:80820',
  ]) {
    test(`is not let in as ${origin}`, async () => {
      const asked = await preflight(shared, origin)
      const answer = await shared.request('GET', route, { headers: { origin } })
      expect([asked, answer].map(({ headers }) => headers.get('access-control-allow-origin'))).toEqual([null, null])
    })
  }

  for (const [name, path, key] of [
    ['an answer', route, undefined],
    ['a 401', route, null],
    ['a 404', '/nothing', undefined],
  ] as const) {
    test(`may read ${name} and its headers when it is configured`, async () => {
      const { headers } = await shared.request('GET', path, {
        headers: { origin: studio },
        ...(key === null ? { key } : {}),
      })
      expect({
        origin: headers.get('access-control-allow-origin'),
        exposed: headers.get('access-control-expose-headers')?.split(','),
        vary: headers.get('vary'),
      }).toEqual({
        origin: studio,
        exposed: expect.arrayContaining(['Retry-After', 'X-Request-Id', 'ETag', 'Link', 'Location']),
        vary: expect.stringContaining('Origin'),
      })
    })
  }
})
