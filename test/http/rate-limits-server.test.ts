import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createScratchDatabase } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'
import { type Client, clientOf, productionEnvironment, type ServerProcess, startServer } from '../e2e/server.ts'

const route = '/api/platform/organizations'
const generous = {
  RATE_READ_RPS: '1000000',
  RATE_WRITE_RPS: '1000000',
  RATE_TESTS_PER_MIN: '1000000',
  RATE_AUTH_FAILURES_PER_MIN: '1000000',
  RATE_ANONYMOUS_MAX: '1000000',
  RATE_ANONYMOUS_WINDOW_MS: '900000',
}
const cleanup = new AsyncDisposableStack()
let production: ReturnType<typeof productionEnvironment>
beforeAll(async () => {
  production = productionEnvironment(cleanup.use(await createScratchDatabase(stores().postgres18)).url)
}, 60_000)
afterAll(() => cleanup.disposeAsync())

/** A server of one test's own over the shared registry, so that no test finds another's counters. */
async function serve(
  env: Readonly<Record<string, string>>,
): Promise<{ server: ServerProcess; client: Client } & AsyncDisposable> {
  const all = { ...production, ...generous, ...env }
  const server = startServer({ env: all })
  return {
    server,
    client: clientOf(await server.url, all.BUN_API_KEY),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** Statuses of so many requests, one after the other. */
async function statuses(count: number, ask: (n: number) => Promise<Response>): Promise<readonly number[]> {
  const seen: number[] = []
  for (let n = 0; n < count; n++) {
    const answer = await ask(n)
    await answer.arrayBuffer()
    seen.push(answer.status)
  }
  return seen
}

const bare = (client: Client, path: string, headers: Readonly<Record<string, string>> = {}) =>
  fetch(`${client.url}${path}`, { headers })
const limitsOf = ({ headers }: Response) => ({
  retryAfter: headers.get('retry-after'),
  policy: headers.get('ratelimit-policy'),
  limit: headers.get('ratelimit'),
})

describe('anonymous callers over HTTP', () => {
  test('are counted by address: pages and 401s together, then 429 with what the caller needs to wait', async () => {
    await using running = await serve({ RATE_ANONYMOUS_MAX: '5' })
    const { client } = running
    const first = await bare(client, '/openapi.json')
    expect({ status: first.status, ...limitsOf(first) }).toEqual({
      status: 200,
      retryAfter: null,
      policy: '"anonymous";q=5;w=900',
      limit: '"anonymous";r=4;t=900',
    })
    const paths = ['/docs', route, '/api/platform/nothing', '/openapi.json']
    expect(await statuses(4, (n) => bare(client, paths[n] ?? ''))).toEqual([200, 401, 401, 200])
    const refused = await bare(client, '/openapi.json')
    expect({ status: refused.status, ...limitsOf(refused), body: await refused.json() }).toEqual({
      status: 429,
      retryAfter: expect.stringMatching(/^(900|899|89\d)$/),
      policy: '"anonymous";q=5;w=900',
      limit: expect.stringMatching(/^"anonymous";r=0;t=(900|899|89\d)$/),
      body: {
        message: expect.stringContaining('More than 5 requests in 900 s'),
        error: {
          code: 'RATE_LIMITED',
          message: expect.any(String),
          retryable: true,
          requestId: refused.headers.get('x-request-id'),
        },
      },
    })
    expect(await statuses(1, () => bare(client, route))).toEqual([429])
  })

  test('always get the health routes and the files of the documentation page', async () => {
    await using running = await serve({ RATE_ANONYMOUS_MAX: '1' })
    const { client } = running
    await statuses(3, () => bare(client, '/openapi.json'))
    for (const path of ['/health', '/health/ready', '/docs/docs.css'])
      expect(await statuses(10, () => bare(client, path))).toEqual(Array.from({ length: 10 }, () => 200))
    expect(await statuses(1, () => bare(client, '/openapi.json'))).toEqual([429])
  })

  test('may ask again when the window is over', async () => {
    await using running = await serve({ RATE_ANONYMOUS_MAX: '2', RATE_ANONYMOUS_WINDOW_MS: '1000' })
    const { client } = running
    const burst = await statuses(3, () => bare(client, '/openapi.json'))
    expect(burst).toEqual([200, 200, 429])
    await Bun.sleep(1_100)
    expect(await statuses(3, () => bare(client, '/openapi.json'))).toEqual([200, 200, 429])
  })
})

describe('X-Forwarded-For over HTTP', () => {
  const forwarded = (value: string) => ({ 'x-forwarded-for': value })

  test('a caller who invents addresses stays one caller', async () => {
    await using running = await serve({ RATE_ANONYMOUS_MAX: '3' })
    const { client } = running
    const seen = await statuses(5, (n) => bare(client, '/openapi.json', forwarded(`203.0.113.${n}`)))
    expect(seen).toEqual([200, 200, 200, 429, 429])
  })

  test('behind a trusted proxy each client has its own budget, and what it claims itself does not count', async () => {
    await using running = await serve({ RATE_ANONYMOUS_MAX: '3', TRUST_PROXY: '127.0.0.0/8,10.0.0.0/8' })
    const { client } = running
    const from = (address: string) => (n: number) =>
      bare(client, '/openapi.json', forwarded(`198.51.100.${n}, ${address}, 10.0.0.1`))
    expect(await statuses(4, from('203.0.113.1'))).toEqual([200, 200, 200, 429])
    expect(await statuses(4, from('203.0.113.2'))).toEqual([200, 200, 200, 429])
    expect(await statuses(1, from('::ffff:203.0.113.2'))).toEqual([429])
  })
})

describe('failed authentication over HTTP', () => {
  test('a wrong key is 401 so often and then 429, while the service key works on from the same address', async () => {
    await using running = await serve({ RATE_AUTH_FAILURES_PER_MIN: '3' })
    const { client } = running
    const wrong = { authorization: `Bearer bak_${'a'.repeat(60)}` }
    expect(await statuses(6, () => bare(client, route, wrong))).toEqual([401, 401, 401, 429, 429, 429])
    expect(await statuses(3, () => bare(client, '/health', wrong))).toEqual([200, 200, 200])
    expect(await statuses(3, () => client.request('GET', route))).toEqual([200, 200, 200])
  })

  test('ever new keys end in 429 as well, and lock nobody out', async () => {
    await using running = await serve({ RATE_ANONYMOUS_MAX: '4' })
    const { client } = running
    const guess = (n: number) => bare(client, route, { authorization: `Bearer guess-${n}-${crypto.randomUUID()}` })
    expect(await statuses(6, guess)).toEqual([401, 401, 401, 401, 429, 429])
    expect(await statuses(3, () => client.request('GET', route))).toEqual([200, 200, 200])
  })
})

describe('principals over HTTP', () => {
  const strict = { RATE_READ_RPS: '2', RATE_WRITE_RPS: '1', RATE_TESTS_PER_MIN: '1' }

  test('the service key is not limited and is told of no limit', async () => {
    await using running = await serve(strict)
    const { client } = running
    const seen = new Set(await statuses(300, () => client.request('GET', route)))
    expect([...seen]).toEqual([200])
    const answer = await client.request('GET', route)
    expect(limitsOf(answer)).toEqual({ retryAfter: null, policy: null, limit: null })
  })

  test('a scoped key has its budgets of reads and of writes, and the headers on every answer', async () => {
    await using running = await serve(strict)
    const { client } = running
    const made = await client.request('POST', '/api/platform/api-keys', {
      name: `limited-${crypto.randomUUID()}`,
      projectRef: 'default',
      role: 'admin',
    })
    expect(made.status).toBe(201)
    const { secret } = (await made.json()) as { secret: string }
    const scoped = clientOf(client.url, secret)
    const path = '/api/platform/databases?projectRef=default'
    const first = await scoped.request('GET', path)
    expect({ status: first.status, ...limitsOf(first) }).toEqual({
      status: 200,
      retryAfter: null,
      policy: '"read";q=4;w=2',
      limit: '"read";r=3;t=2',
    })
    // In bursts of one window, which may end in between.
    const seen = await statuses(12, () => scoped.request('GET', path))
    expect([seen.includes(429), new Set(seen)]).toEqual([true, new Set([200, 429])])
    const written = await statuses(6, () => scoped.request('DELETE', `/api/platform/databases/${crypto.randomUUID()}`))
    expect(new Set(written)).toEqual(new Set([404, 429]))
    const other = await client.request('GET', path)
    expect(other.status).toBe(200)
  })

  test('a statement that may write is counted among the writes, and one that only reads among the reads', async () => {
    await using running = await serve({ ...strict, RATE_READ_RPS: '50', EGRESS_ALLOW: '*' })
    const { client } = running
    const made = await client.request('POST', '/api/platform/api-keys', {
      name: `limited-${crypto.randomUUID()}`,
      projectRef: 'default',
      role: 'write',
    })
    const { secret } = (await made.json()) as { secret: string }
    const registered = await client.request('POST', '/api/platform/databases', {
      projectRef: 'default',
      name: `limited-${crypto.randomUUID()}`,
      type: 'postgres',
      connectionString: production.DATABASE_URL,
    })
    const { id } = (await registered.json()) as { id: string }
    const scoped = clientOf(client.url, secret)
    const run = (readOnly: boolean) =>
      scoped.request('POST', `/api/platform/postgres/${id}/query`, { query: 'select 1', readOnly })
    const read = await run(true)
    expect([read.status, limitsOf(read).policy]).toEqual([200, '"read";q=100;w=2'])
    const answers = await Promise.all(Array.from({ length: 8 }, () => run(false)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 429]))
    expect(new Set(answers.map((answer) => limitsOf(answer).policy))).toEqual(new Set(['"write";q=2;w=2']))
    expect((await run(true)).status).toBe(200)
  })
})
