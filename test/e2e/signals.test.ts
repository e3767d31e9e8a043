import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { exists, mkdtemp, rm, symlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createScratchDatabase } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'
import { type Client, clientOf, productionEnvironment, type ServerProcess, startServer } from './server.ts'

const requests = 50

describe('a server that is told to stop', () => {
  let registry: Awaited<ReturnType<typeof createScratchDatabase>>
  let env: ReturnType<typeof productionEnvironment>
  let ids: readonly string[]
  beforeAll(async () => {
    registry = await createScratchDatabase(stores().postgres18)
    env = { ...productionEnvironment(registry.url), POSTGRES_MAX_POOL_SIZE: '10' } as typeof env
    await using server = startServer({ env })
    const client = clientOf(await server.url, env.BUN_API_KEY)
    ids = await Promise.all(Array.from({ length: requests / 10 }, (_, index) => register(client, `sleepy-${index}`)))
    server.kill('SIGTERM')
    await server.exited
  }, 60_000)
  afterAll(() => registry[Symbol.asyncDispose]())

  const start = (more: Record<string, string> = {}) => startServer({ env: { ...env, ...more } })

  /** Ten sleeping statements in each of the databases, all of them at work in the stores. */
  async function sleepers(client: Client, seconds: number, count = requests) {
    const mark = crypto.randomUUID()
    const query = `select pg_sleep(${seconds}) as "${mark}"`
    const answers = Array.from({ length: count }, (_, index) =>
      client.request('POST', `/api/platform/postgres/${ids[index % ids.length]}/query`, { query, timeoutMs: 60_000 }),
    )
    for (const answer of answers) answer.catch(() => undefined)
    await until(async () => {
      const rows = await ask(
        client,
        `select count(*)::int as n from pg_stat_activity where query like '%${mark}%' and state = 'active' and pid <> pg_backend_pid()`,
      )
      return rows === count
    })
    return answers
  }

  async function ask(client: Client, query: string): Promise<unknown> {
    const answer = await client.request('POST', `/api/platform/postgres/${watcher}/query`, { query })
    return ((await answer.json()) as { rows: { n: unknown }[] }).rows[0]?.n
  }
  let watcher = ''

  async function register(client: Client, name: string): Promise<string> {
    const answer = await client.request('POST', '/api/platform/databases', {
      projectRef: 'default',
      name,
      type: 'postgres',
      connectionString: stores().postgres18.url,
    })
    return ((await answer.json()) as { id: string }).id
  }

  async function ready(server: ServerProcess): Promise<Client> {
    const client = clientOf(await server.url, env.BUN_API_KEY)
    watcher = await register(client, `watcher-${crypto.randomUUID().slice(0, 8)}`)
    return client
  }

  test('SIGTERM: finishes what is in flight, takes nothing new, exits 0 within 10 s', async () => {
    await using server = start()
    const client = await ready(server)
    const answers = await sleepers(client, 3)
    const began = performance.now()
    server.kill('SIGTERM')
    await server.logged('draining')
    expect(await dial(client.url)).toBe('refused')
    const statuses = await Promise.all(answers.map(async (answer) => (await answer).status))
    expect(statuses).toEqual(Array.from({ length: requests }, () => 200))
    expect(await server.exited).toBe(0)
    expect(performance.now() - began).toBeLessThan(10_000)
    expect(await server.logged('stopped')).toMatchObject({ drained: true, closed: true })
  }, 60_000)

  test('SIGTERM: cuts what outlasts the drain, and still exits 0 within 11 s', async () => {
    await using server = start()
    const client = await ready(server)
    const [answer] = await sleepers(client, 40, 1)
    const began = performance.now()
    server.kill('SIGTERM')
    expect(await answer?.then(String, () => 'cut')).toBe('cut')
    expect(await server.exited).toBe(0)
    expect(performance.now() - began).toBeWithin(7_500, 11_000)
    expect(await server.logged('stopped')).toMatchObject({ drained: false })
  }, 60_000)

  test('SIGTERM: an idle keep-alive connection does not hold it', async () => {
    await using server = start()
    const url = new URL(await server.url)
    const socket = connect(Number(url.port), url.hostname)
    const answered = new Promise((resolve) => socket.once('data', resolve))
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n')
    await answered
    const began = performance.now()
    server.kill('SIGTERM')
    await closed
    expect(await server.exited).toBe(0)
    expect(performance.now() - began).toBeLessThan(3_000)
  }, 30_000)

  test('SIGINT: exits 0, also when it comes twice at once', async () => {
    await using server = start()
    const client = await ready(server)
    const [answer] = await sleepers(client, 1, 1)
    server.kill('SIGINT')
    server.kill('SIGINT')
    expect((await answer)?.status).toBe(200)
    expect(await server.exited).toBe(0)
  }, 30_000)

  test('a second signal after a second ends it at once', async () => {
    await using server = start()
    const client = await ready(server)
    const [answer] = await sleepers(client, 40, 1)
    server.kill('SIGTERM')
    await server.logged('draining')
    await Bun.sleep(1_100)
    const began = performance.now()
    server.kill('SIGTERM')
    expect(await server.exited).toBe(1)
    expect(performance.now() - began).toBeLessThan(1_000)
    expect(await answer?.then(String, () => 'cut')).toBe('cut')
  }, 30_000)

  test('SIGTERM while it starts ends it without an error', async () => {
    const DATA_DIR = await mkdtemp(join(tmpdir(), 'bun-api-e2e-'))
    await using server = start({ DATABASE_URL: '', DATA_DIR })
    await until(() => exists(join(DATA_DIR, 'lock')))
    server.kill('SIGTERM')
    expect({ code: await server.exited, errors: server.errors() }).toEqual({ code: 0, errors: '' })
    await rm(DATA_DIR, { recursive: true })
  }, 30_000)

  // dash and ash run the last command of a script as a child, and do not pass signals on to it; bash replaces itself.
  for (const shell of ['bash', 'sh']) {
    test(`bun run start passes SIGTERM on through ${shell}, and the server drains`, async () => {
      const PATH = await mkdtemp(join(tmpdir(), 'bun-api-bin-'))
      await symlink(process.execPath, join(PATH, 'bun'))
      await symlink(Bun.which(shell) ?? '/bin/sh', join(PATH, shell))
      await using server = startServer({ env: { ...env, PATH }, command: ['run', 'start'] })
      const client = await ready(server)
      const [answer] = await sleepers(client, 1, 1)
      server.kill('SIGTERM')
      expect((await answer)?.status).toBe(200)
      expect(await server.exited).toBe(0)
      expect(await server.logged('stopped')).toMatchObject({ drained: true })
      await rm(PATH, { recursive: true })
    }, 60_000)
  }
})

function dial(url: string): Promise<'refused' | 'connected'> {
  const { port, hostname } = new URL(url)
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      socket.destroy()
      resolve('connected')
    })
    socket.once('error', () => resolve('refused'))
  })
}

async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await Bun.sleep(50)
}
