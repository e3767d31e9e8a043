import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { eventually, newName, path } from './registries.ts'
import { withClient } from './scratch.ts'
import { type Client, clientOf, productionEnvironment, type ServerProcess, startServer } from '#test/e2e/server.ts'
import { createScratchDatabase } from '#test/support/app.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'

const { redis, postgres18 } = stores()

describe.skipIf(redis === null)('a server killed while a POST with an Idempotency-Key runs', () => {
  const cleanup = new AsyncDisposableStack()
  let databaseUrl: string
  let env: Readonly<Record<string, string>>
  beforeAll(async () => {
    databaseUrl = cleanup.use(await createScratchDatabase(postgres18)).url
    // A first request is taken for dead after the sum of the two.
    env = { ...productionEnvironment(databaseUrl), REQUEST_TIMEOUT_MS: '1500', QUERY_TIMEOUT_MAX_MS: '1000' }
  })
  afterAll(() => cleanup.disposeAsync())

  const rows = (name: string) =>
    withClient(databaseUrl, async (sql) => {
      const found = await sql`select id::text from platform.databases where name = ${name}`
      return found.map((row) => String(row['id']))
    })
  const create = ({ url, key: serviceKey }: Client, key: string, body: unknown) =>
    fetch(`${url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${serviceKey}`, 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify(body),
    })
  const start = async (): Promise<{ server: ServerProcess; client: Client }> => {
    const server = startServer({ env })
    return { server, client: clientOf(await server.url, env['BUN_API_KEY'] ?? '') }
  }
  interface Running {
    readonly key: string
    readonly name: string
    /** Lets the store answer. */
    proceed(): void
    kill(): Promise<unknown>
  }
  /** Runs a create over a connection that hangs, until `during` kills the server, and answers what the next one says when that is final. */
  const killedWhile = async (during: (running: Running) => Promise<void>) => {
    await using proxy = await startFaultProxy(redis?.host ?? '', redis?.port ?? 0)
    const [key, name] = [newName(), newName()]
    const connectionString = `redis://:${redis?.password}@127.0.0.1:${proxy.port}`
    const body = { projectRef: 'default', name, type: 'redis', connectionString }
    {
      const { server, client } = await start()
      await using killed = server
      proxy.mode = 'blackhole'
      const answer = create(client, key, body).catch(() => undefined)
      await eventually(() => proxy.connections > 0)
      const kill = () => {
        killed.kill('SIGKILL')
        return killed.exited
      }
      await during({ key, name, proceed: () => void (proxy.mode = 'pass'), kill })
      expect(await answer).toBeUndefined()
    }
    proxy.mode = 'pass'
    const { server, client } = await start()
    await using serving = server
    const seen: (readonly [number, string])[] = []
    await eventually(async () => {
      const response = await create(client, key, body)
      const { id, error } = (await response.json()) as { id?: string; error?: { code: string; retryable: boolean } }
      if (error?.retryable) return false
      seen.push([response.status, error?.code ?? id ?? ''])
      return true
    }, 10_000)
    const repeated = await create(client, key, body)
    serving.kill('SIGTERM')
    return { seen, ids: await rows(name), repeated: [repeated.status, repeated.headers.get('idempotency-replayed')] }
  }

  test('before it did anything: repeated, it runs, once', async () => {
    const { seen, ids, repeated } = await killedWhile(async ({ name, kill }) => {
      await kill()
      expect(await rows(name)).toEqual([])
    })
    expect(ids).toHaveLength(1)
    expect([seen, repeated]).toEqual([[[201, ids[0] ?? '']], [201, 'true']])
  }, 30_000)

  test('after it created, before the answer was kept: repeated, it says that the name is taken, and creates no second', async () => {
    const { seen, ids, repeated } = await killedWhile(({ key, name, proceed, kill }) =>
      withClient(databaseUrl, async (sql) => {
        await sql.begin(async (tx) => {
          await tx`select 1 from platform.idempotency_keys where key = ${key} for update`
          proceed()
          await eventually(async () => (await rows(name)).length === 1)
          await kill()
          // The statement it had sent would still be done.
          await tx`select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`
        })
      }),
    )
    expect(ids).toHaveLength(1)
    expect([seen, repeated]).toEqual([[[409, 'CONFLICT']], [409, 'true']])
  }, 30_000)
})
