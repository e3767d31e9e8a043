import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { openPaths } from '#src/http/auth.ts'
import { createApp } from '#src/app.ts'
import { canary } from '#test/support/credentials.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'

const previous = `${canary}-${randomBytes(32).toString('base64url')}`
const route = '/api/platform/organizations'
let app: TestApp
beforeAll(async () => {
  app = await createTestApp({ env: { BUN_API_KEY_PREVIOUS: previous } })
}, 60_000)
afterAll(() => app[Symbol.asyncDispose]())

/** Sent as given, without the factory's own key. */
const send = (headers: Record<string, string>, path = route, method = 'GET') =>
  app.request(method, path, { key: null, headers })

describe('the service key', () => {
  const accepted: readonly (readonly [string, () => Record<string, string>])[] = [
    ['Authorization: Bearer', () => ({ authorization: `Bearer ${app.key}` })],
    ['Authorization: bearer, in any case', () => ({ authorization: `bEARER  ${app.key}` })],
    ['apikey', () => ({ apikey: app.key })],
    ['x-api-key', () => ({ 'x-api-key': app.key })],
    ['the previous key', () => ({ authorization: `Bearer ${previous}` })],
    ['the previous key as apikey', () => ({ apikey: previous })],
    ['a right Authorization before a wrong apikey', () => ({ authorization: `Bearer ${app.key}`, apikey: 'wrong' })],
    ['a right apikey before a wrong x-api-key', () => ({ apikey: app.key, 'x-api-key': 'wrong' })],
  ]
  for (const [name, headers] of accepted) {
    test(`200 ${name}`, async () => {
      expect((await send(headers())).status).toBe(200)
    })
  }

  const refused: readonly (readonly [string, () => Record<string, string>])[] = [
    ['no key', () => ({})],
    ['a wrong key', () => ({ authorization: 'Bearer wrong' })],
    ['a wrong Authorization before a right apikey', () => ({ authorization: 'Bearer wrong', apikey: app.key })],
    ['an empty Authorization before a right apikey', () => ({ authorization: '', apikey: app.key })],
    ['another scheme before a right apikey', () => ({ authorization: 'Basic Og==', apikey: app.key })],
    ['a wrong apikey before a right x-api-key', () => ({ apikey: 'wrong', 'x-api-key': app.key })],
    ['an empty apikey before a right x-api-key', () => ({ apikey: '', 'x-api-key': app.key })],
    ['the key as Basic', () => ({ authorization: `Basic ${app.key}` })],
    ['the key as Basic credentials', () => ({ authorization: `Basic ${btoa(`:${app.key}`)}` })],
    ['the key without a scheme', () => ({ authorization: app.key })],
    ['the scheme without a key', () => ({ authorization: 'Bearer' })],
    ['the scheme and spaces', () => ({ authorization: 'Bearer   ' })],
    ['two keys in one header', () => ({ authorization: `Bearer wrong, Bearer ${app.key}` })],
    ['the beginning of the key', () => ({ apikey: app.key.slice(0, -1) })],
    ['the key and one character', () => ({ apikey: `${app.key}x` })],
    ['the key in another case', () => ({ apikey: app.key.toUpperCase() })],
    ['the key in the query', () => ({ 'x-nothing': '1' })],
    ['the key forwarded for a user', () => ({ 'x-forwarded-authorization': `Bearer ${app.key}` })],
    ['the key in a cookie', () => ({ cookie: `apikey=${app.key}` })],
  ]
  for (const [name, headers] of refused) {
    test(`401 ${name}`, async () => {
      const answer = await send(headers(), name.endsWith('query') ? `${route}?apikey=x&api_key=x` : route)
      expect({ status: answer.status, challenge: answer.headers.get('www-authenticate'), body: answer.body }).toEqual({
        status: 401,
        challenge: 'Bearer realm="bun-api"',
        body: {
          message: expect.any(String),
          error: {
            code: 'UNAUTHENTICATED',
            message: answer.body.message,
            retryable: false,
            requestId: answer.headers.get('x-request-id'),
          },
        },
      })
    })
  }
})

describe('without a key', () => {
  const routes = () => [
    ...new Set(
      createApp(app.deps)
        .routes.filter(({ method, path }) => method !== 'ALL' && !path.includes('*'))
        .map(({ method, path }) => `${method} ${path.replace(/:\w+(\{[^}]*\})?/g, crypto.randomUUID())}`),
    ),
  ]

  test('the table of routes is the whole one', () => {
    expect(routes().length).toBeGreaterThan(25)
  })

  test('200 the open routes, and no other', async () => {
    const answers = await Promise.all(
      routes().map(async (entry) => {
        const [method = '', path = ''] = entry.split(' ')
        return [path, (await send({}, path, method)).status] as const
      }),
    )
    const wrong = answers.filter(([path, status]) => status !== (openPaths.has(path) ? 200 : 401))
    expect(wrong).toEqual([])
    expect(answers.filter(([, status]) => status === 200).map(([path]) => path)).toEqual([...openPaths])
  })

  const disguises: readonly (readonly [string, (path: string) => string])[] = [
    ['%2F', (path) => path.replaceAll(/(?<=.)\//g, '%2F')],
    ['%2f before', (path) => `/%2f${path}`],
    ['//', (path) => `/${path}`],
    ['// inside', (path) => path.replaceAll(/(?<=.)\//g, '//')],
    ['/./', (path) => path.replace(/(?<=.)\//, '/./')],
    ['..', (path) => `/health/..${path}`],
    ['%2e%2e', (path) => `/health/%2e%2e${path}`],
    ['%2e%2e%2f', (path) => `/health/%2e%2e%2f${path.slice(1)}`],
    ['..;', (path) => `/health/..;${path}`],
    ['backslashes', (path) => path.replaceAll('/', '\\')],
    ['upper case', (path) => path.toUpperCase()],
    ['a percent-encoded letter', (path) => path.replace('p', '%70')],
    ['a doubly encoded letter', (path) => path.replace('p', '%2570')],
    ['a multi-byte lookalike', (path) => path.replaceAll('/', '／')],
    ['a broken encoding', (path) => `${path}%`],
    ['a NUL', (path) => `${path}%00`],
    ['a trailing slash', (path) => `${path}/`],
    ['a trailing dot', (path) => `${path}/.`],
    ['a matrix parameter', (path) => `${path};/health`],
    ['a query that looks open', (path) => `${path}?/health`],
    ['a fragment that looks open', (path) => `${path}#/health`],
    ['an open path before', (path) => `/health${path}`],
    ['an open path behind', (path) => `${path}/health`],
  ]
  for (const [name, disguise] of disguises) {
    test(`never 2xx behind ${name}`, async () => {
      const closed = routes().filter((entry) => !openPaths.has(entry.split(' ')[1] ?? ''))
      const answers = await Promise.all(
        closed.map(async (entry) => {
          const [method = '', path = ''] = entry.split(' ')
          return [method, disguise(path), (await send({}, disguise(path), method)).status] as const
        }),
      )
      expect(answers.filter(([, , status]) => status < 400)).toEqual([])
    })
  }
})
