import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createTestApp, type TestApp } from '#test/support/app.ts'

let app: TestApp
beforeAll(async () => {
  app = await createTestApp({ env: { MAX_REGISTRY_BODY_BYTES: '2048', MAX_ENGINE_BODY_BYTES: '4096' } })
}, 60_000)
afterAll(() => app[Symbol.asyncDispose]())

/** The whole body of a failure: the message twice, nothing beside. */
function failure(code: string, message: unknown, details?: unknown) {
  return {
    message,
    error: {
      code,
      message,
      retryable: false,
      requestId: expect.stringMatching(/^[\w-]{36}$/),
      ...(details === undefined ? {} : { details }),
    },
  }
}
const text = expect.any(String) as unknown
const organizations = '/api/platform/organizations'
const id = crypto.randomUUID()

describe('a wrong request', () => {
  test('404 a path that is no route', async () => {
    const { status, body } = await app.request('GET', '/api/platform/nothing')
    expect({ status, body }).toEqual({
      status: 404,
      body: failure('NOT_FOUND', 'There is no such route. GET /openapi.json lists them.'),
    })
  })

  for (const [method, path, allow] of [
    ['PUT', organizations, 'GET, HEAD, POST'],
    ['DELETE', '/health', 'GET, HEAD'],
    ['POST', '/openapi.json', 'GET, HEAD'],
    ['PUT', `/api/platform/databases/${id}`, 'GET, HEAD, PATCH, DELETE'],
    ['GET', `/api/platform/redis/${id}/set`, 'POST'],
    ['OPTIONS', `/api/platform/redis/${id}/set`, 'POST'],
    ['PROPFIND', organizations, 'GET, HEAD, POST'],
    ['PATCH', '/api/platform/databases/stats', 'GET, HEAD'],
    ['DELETE', '/api/platform/databases/stats', 'GET, HEAD'],
    ['PUT', '/api/platform/databases/stats', 'GET, HEAD'],
    ['GET', '/api/platform/databases/test', 'POST'],
    ['PATCH', '/api/platform/databases/test', 'POST'],
    ['DELETE', '/api/platform/databases/test', 'POST'],
    ['DELETE', `/api/platform/databases/by-name/permissions/${id}`, 'GET, HEAD'],
  ] as const) {
    test(`405 ${method} ${path.replace(id, '{id}')}`, async () => {
      const { status, headers, body } = await app.request(method, path)
      expect({ status, allow: headers.get('allow'), body }).toEqual({
        status: 405,
        allow,
        body: failure('METHOD_NOT_ALLOWED', `This route takes ${allow}.`),
      })
    })
  }

  test('414 a URL above the limit', async () => {
    const { status, body } = await app.request('GET', `${organizations}?cursor=${'x'.repeat(9_000)}`)
    expect({ status, body }).toEqual({ status: 414, body: failure('URI_TOO_LONG', text) })
  })

  for (const [route, bytes, path] of [
    ['a registry route', 2_100, organizations],
    ['an engine route', 4_200, `/api/platform/redis/${id}/set`],
    ['a route below', 2_100, '/api/platform/databases/test'],
  ] as const) {
    const filler = JSON.stringify({ name: 'x'.repeat(bytes), slug: 'too-large' })
    test(`413 a body above the limit of ${route}`, async () => {
      const { status, body } = await app.request('POST', path, {
        body: filler,
        headers: { 'content-length': String(filler.length) },
      })
      expect({ status, body }).toEqual({ status: 413, body: failure('PAYLOAD_TOO_LARGE', text) })
    })

    test(`413 a chunked body above the limit of ${route}`, async () => {
      const { status, body } = await app.request('POST', path, {
        body: filler,
        headers: { 'transfer-encoding': 'chunked' },
      })
      expect({ status, body }).toEqual({ status: 413, body: failure('PAYLOAD_TOO_LARGE', text) })
    })
  }

  for (const contentType of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    '',
  ]) {
    test(`415 a body ${contentType === '' ? 'without a media type' : `as ${contentType}`}`, async () => {
      const { status, body } = await app.request('POST', organizations, {
        body: new TextEncoder().encode('{"name":"a","slug":"wrong-type"}'),
        headers: { 'content-type': contentType },
      })
      expect({ status, body }).toEqual({ status: 415, body: failure('UNSUPPORTED_MEDIA_TYPE', text) })
    })
  }

  test('201 a media type with parameters, whatever its case', async () => {
    const { status } = await app.request('POST', organizations, {
      body: { name: 'a', slug: 'typed' },
      headers: { 'content-type': 'Application/JSON; Charset=UTF-8' },
    })
    expect(status).toBe(201)
  })

  const nested = (depth: number) => `{"name":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`
  for (const [name, body, detail] of [
    ['text that is not JSON', '{"name":', { in: 'body', field: 'body', rule: 'must be valid JSON' }],
    ['nothing', '', { in: 'body', field: 'body', rule: 'must be valid JSON' }],
    [
      'bytes that are not UTF-8',
      Uint8Array.of(0x22, 0xc3, 0x28, 0x22),
      { in: 'body', field: 'body', rule: 'must be valid UTF-8' },
    ],
    [
      'an overlong encoding',
      Uint8Array.of(0x22, 0xc0, 0xaf, 0x22),
      { in: 'body', field: 'body', rule: 'must be valid UTF-8' },
    ],
    ['depth 65', nested(65), { in: 'body', field: 'body', rule: 'must not be nested deeper than 64 levels' }],
    ['depth 1,000', nested(1_000), { in: 'body', field: 'body', rule: 'must not be nested deeper than 64 levels' }],
    [
      'a key given twice',
      '{"name":"a","slug":"x","\\u006eame":"b"}',
      { in: 'body', field: 'name', rule: 'must not be given twice' },
    ],
    ['1e400', '{"name":1e400}', { in: 'body', field: 'body', rule: text }],
    ['an integer above 2^53', '{"name":9007199254740993}', { in: 'body', field: 'body', rule: text }],
  ] as const) {
    test(`400 a body of ${name}`, async () => {
      const answer = await app.request('POST', organizations, { body })
      expect({ status: answer.status, body: answer.body }).toEqual({
        status: 400,
        body: failure('VALIDATION_FAILED', text, [detail]),
      })
    })
  }

  test('400 every wrong field with its rule, and no value', async () => {
    const { status, body } = await app.request('POST', organizations, {
      body: { name: '', slug: 'NOT A SLUG', billingEmail: 'nobody', extra: true, __proto__x: 1 },
    })
    expect({ status, body }).toEqual({
      status: 400,
      body: failure('VALIDATION_FAILED', text, [
        { in: 'body', field: 'name', rule: text },
        { in: 'body', field: 'slug', rule: 'must match ^[a-z0-9-]+$' },
        { in: 'body', field: 'billingEmail', rule: text },
        { in: 'body', field: 'extra', rule: 'is not a field of this request' },
        { in: 'body', field: '__proto__x', rule: 'is not a field of this request' },
      ]),
    })
    expect(JSON.stringify(body)).not.toContain('NOT A SLUG')
  })

  for (const key of ['__proto__', 'constructor', 'toString']) {
    test(`400 a field named ${key}`, async () => {
      const answer = await app.request('POST', organizations, { body: `{"name":"a","slug":"odd","${key}":{"a":1}}` })
      expect(answer).toMatchObject({ status: 400, body: { error: { code: 'VALIDATION_FAILED' } } })
    })
  }

  for (const body of ['null', '[]', '"text"', '1', 'true', '{}']) {
    test(`400 the body ${body}`, async () => {
      const answer = await app.request('POST', organizations, { body })
      expect(answer).toMatchObject({ status: 400, body: { error: { code: 'VALIDATION_FAILED' } } })
    })
  }

  test('400 wrong query values, each named', async () => {
    const { status, body } = await app.request('GET', '/api/platform/databases?limit=0&status=gone&types=oracle')
    expect({
      status,
      fields: body.error.details.map((detail: { in: string; field: string }) => `${detail.in} ${detail.field}`),
    }).toEqual({
      status: 400,
      fields: ['query types.0', 'query status', 'query limit'],
    })
  })

  test('400 a malformed id', async () => {
    const { status, body } = await app.request('GET', '/api/platform/databases/not-a-uuid')
    expect({ status, body }).toEqual({
      status: 400,
      body: failure('VALIDATION_FAILED', 'id: must be a UUID.', [{ in: 'path', field: 'id', rule: 'must be a UUID' }]),
    })
  })

  test('none of them was carried out', async () => {
    const { body } = await app.request('GET', organizations)
    expect(body.map((row: { slug: string }) => row.slug).sort()).toEqual(['default', 'typed'])
  })
})

describe('HEAD', () => {
  test('answers as GET does, without a body', async () => {
    const [get, head] = [await app.request('GET', organizations), await app.request('HEAD', organizations)]
    expect({ status: head.status, text: head.text, type: head.headers.get('content-type') }).toEqual({
      status: 200,
      text: '',
      type: get.headers.get('content-type'),
    })
  })

  test('needs a key as well', async () => {
    expect(await app.request('HEAD', organizations, { key: null })).toMatchObject({ status: 401, text: '' })
  })
})
