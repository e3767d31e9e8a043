import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createApp } from '#src/app.ts'
import type { Deps } from '#src/deps.ts'
import { canary } from '#test/support/credentials.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'

let app: TestApp
beforeAll(async () => {
  app = await createTestApp()
}, 60_000)
afterAll(() => app[Symbol.asyncDispose]())

const secret = `postgres://user:${canary}@10.0.0.1/db`

/** The same server with one dependency replaced. */
async function get(path: string, replaced: Partial<Record<keyof Deps, unknown>>) {
  const broken = createApp({ ...app.deps, ...replaced } as Deps)
  const before = app.logLines.length
  const response = await broken.request(path, { headers: { authorization: `Bearer ${app.key}` } })
  const lines = app.logLines.slice(before).map((line) => JSON.parse(line) as Record<string, unknown>)
  return { status: response.status, headers: response.headers, body: (await response.json()) as unknown, lines }
}

const stats = (outcome: () => unknown) => ({ registry: { stats: async () => outcome() } })
const sentence = 'Something went wrong in this server. The request id finds it in the log.'

describe('a fault of the server', () => {
  const faults: readonly (readonly [string, () => unknown])[] = [
    ['an Error', () => throwIt(new Error(secret, { cause: new Error(secret) }))],
    ['an Error with a code', () => throwIt(Object.assign(new TypeError(secret), { code: 'E_LIBRARY', query: secret }))],
    ['an aggregate', () => throwIt(new AggregateError([new Error(secret)], secret))],
    ['text', () => throwIt(secret)],
    ['an object', () => throwIt({ message: secret, status: 200 })],
    ['nothing', () => throwIt(undefined)],
    ['null', () => throwIt(null)],
    ['an answer that does not fit its schema', () => [{ type: secret, total: 'many', active: 0 }]],
  ]
  for (const [name, outcome] of faults) {
    test(`500 with a fixed sentence and one log line when it is ${name}`, async () => {
      const { status, headers, body, lines } = await get('/api/platform/databases/stats', stats(outcome))
      const requestId = headers.get('x-request-id')
      expect({ status, caching: headers.get('cache-control'), body }).toEqual({
        status: 500,
        caching: 'no-store',
        body: { message: sentence, error: { code: 'INTERNAL', message: sentence, retryable: false, requestId } },
      })
      expect(lines).toEqual([
        expect.objectContaining({ level: 'error', event: 'unexpected', request_id: requestId }),
        expect.objectContaining({
          level: 'info',
          event: 'request',
          request_id: requestId,
          status: 500,
          code: 'INTERNAL',
        }),
      ])
      expect(JSON.stringify([body, [...headers], lines])).not.toContain(canary)
    })
  }

  test('the log tells class, code and frames of it', async () => {
    const fault = Object.assign(new TypeError(secret), { code: 'E_LIBRARY' })
    const { lines } = await get(
      '/api/platform/databases/stats',
      stats(() => throwIt(fault)),
    )
    expect(lines[0]).toMatchObject({
      error: 'TypeError',
      error_code: 'E_LIBRARY',
      stack: expect.arrayContaining([expect.stringContaining('failures.test.ts')]),
    })
    expect(lines[0]).not.toHaveProperty('error_message')
  })
})

test('what a route does not name does not leave, whatever the registry hands over', async () => {
  const row = await app.deps.projects.getProject('default')
  const leaky = { ...row, database_password: canary, connection_string: secret, database_url: secret }
  const projects = { ...app.deps.projects, getProject: async () => leaky, listProjects: async () => [leaky] }
  const [one, list] = [
    await get('/api/platform/projects/default', { projects }),
    await get('/api/platform/projects', { projects }),
  ]
  const named = [
    'created_at',
    'id',
    'name',
    'organization_id',
    'organization_slug',
    'ref',
    'slug',
    'status',
    'updated_at',
  ]
  expect(Object.keys(one.body as object).sort()).toEqual(named)
  expect((list.body as object[]).map((entry) => Object.keys(entry).sort())).toEqual([named])
  expect(JSON.stringify([one, list])).not.toContain(canary)
})

describe('GET /health/ready', () => {
  const rows = (hasUnreadable: () => Promise<boolean>) => ({ databases: { hasUnreadable } })
  for (const [name, replaced, status, body] of [
    ['200 ok', {}, 200, { status: 'ok' }],
    [
      '200 degraded while a credential is sealed under a key it does not have',
      rows(async () => true),
      200,
      { status: 'degraded' },
    ],
    [
      '503 unavailable while the registry does not answer',
      rows(() => Promise.reject(new Error(secret))),
      503,
      { status: 'unavailable' },
    ],
    ['503 draining while it stops', { draining: true }, 503, { status: 'draining' }],
  ] as const) {
    test(name, async () => {
      const answer = await get('/health/ready', replaced)
      expect({ status: answer.status, body: answer.body }).toEqual({ status, body })
      expect(JSON.stringify(answer.lines)).not.toContain(canary)
    })
  }
})

test('GET /health answers whatever the stores do', async () => {
  const gone = () => Promise.reject(new Error(secret))
  const { status, body } = await get('/health', { databases: { hasUnreadable: gone }, registry: {}, draining: true })
  expect({ status, body }).toEqual({ status: 200, body: { status: 'ok' } })
})

test('GET /info names the limits in force and holds nothing secret', async () => {
  const { status, body } = await app.request('GET', '/info')
  expect({ status, body }).toEqual({
    status: 200,
    body: {
      name: 'bun-api',
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      runtime: `bun ${Bun.version}`,
      mode: 'embedded',
      uptime_seconds: expect.any(Number),
      engines: expect.arrayContaining([{ type: 'redis', label: 'Redis' }]),
      connections: expect.objectContaining({ live: 0, leased: 0, opened: 0, closed: 0 }),
      limits: expect.objectContaining({ REQUEST_TIMEOUT_MS: 10_000, MAX_URL_BYTES: 8_192 }),
    },
  })
  expect(Object.values(body.limits).every((limit) => typeof limit === 'number')).toBe(true)
})

function throwIt(thrown: unknown): never {
  // oxlint-disable-next-line no-throw-literal
  throw thrown
}
