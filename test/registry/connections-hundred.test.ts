import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import { createRedisUser, type RedisUser } from './redis-user.ts'
import { eventually, newName, path } from './registries.ts'
import { withClient } from './scratch.ts'
import { createScratchDatabase, createTestApp, type TestApp, testKeys } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'

const { redis, mongo, postgres18 } = stores()

/** A kind of store by what its databases are called here, and how many sockets this test has at it. */
interface Kind {
  readonly type: string
  readonly use: string
  url(index: number): string
  sockets(): Promise<number>
}

describe.skipIf(redis === null || mongo === null)('a hundred registered databases', () => {
  const cleanup = new AsyncDisposableStack()
  let kinds: readonly Kind[]
  let user: RedisUser
  let postgresUrl: string
  let mongoUrl: string
  beforeAll(async () => {
    user = cleanup.use(await createRedisUser(redis as NonNullable<typeof redis>))
    const scratch = cleanup.use(await createScratchDatabase(postgres18))
    postgresUrl = scratch.url
    mongoUrl = mongo?.url ?? ''
    const watcher = new MongoClient(mongoUrl, { appName: 'watcher' })
    cleanup.defer(() => watcher.close())
    kinds = [
      {
        type: 'redis',
        use: 'redis/ID/keys?count=1',
        url: (index) => user.url(index % 16),
        sockets: async () => (await user.databases()).length,
      },
      {
        type: 'postgres',
        use: 'postgres/ID/tables',
        url: (index) => `${postgresUrl}?application_name=of-${index}`,
        sockets: () =>
          withClient(postgres18.url, async (sql) => {
            const [row] = await sql`
              select count(*)::int as count from pg_stat_activity where datname = ${scratch.name} and application_name like 'of-%'`
            return Number(row?.['count'])
          }),
      },
      {
        type: 'mongodb',
        use: 'mongodb/ID/databases',
        url: (index) => mongoUrl.replace('/?', `/hundred${index}?`),
        sockets: async () => {
          const stages = [
            { $currentOp: { allUsers: true, idleConnections: true } },
            { $match: { 'clientMetadata.application.name': 'bun-api' } },
          ]
          return (await watcher.db('admin').aggregate(stages).toArray()).length
        },
      },
    ]
  })
  afterAll(() => cleanup.disposeAsync())

  const sockets = () => Promise.all(kinds.map((kind) => kind.sockets()))
  const createApp = (env: Readonly<Record<string, string>>) => createTestApp({ registry: 'postgres18', env })

  interface Registered {
    readonly id: string
    readonly kind: Kind
  }
  const registerAll = (app: TestApp): Promise<readonly Registered[]> =>
    Promise.all(
      Array.from({ length: 102 }, async (_, index) => {
        const kind = kinds[index % 3] as Kind
        const connectionString = kind.url(index)
        const body = { projectRef: 'default', name: newName(), type: kind.type, connectionString }
        const { id } = (await app.request('POST', `${path}?skipTest=true`, { body })).body
        return { id, kind }
      }),
    )
  const use = async (app: TestApp, { id, kind }: Registered) =>
    (await app.request('GET', `/api/platform/${kind.use.replace('ID', id)}`)).status
  const balance = ({ deps }: TestApp) => {
    const { opened, closed, live, leased, waiting, failed } = deps.connections.metrics()
    return { missing: opened - closed - live, leased, waiting, failed }
  }
  const balanced = { missing: 0, leased: 0, waiting: 0, failed: 0 }

  test('used in turn, together, and changed and removed meanwhile leave no socket and no entry', async () => {
    // The test's own server takes 100 clients. Of MongoDB 28 may live, so six are evicted again and again.
    const app = await createApp({
      MAX_POSTGRES_CONNECTIONS: '40',
      POSTGRES_MAX_POOL_SIZE: '1',
      POOL_WAIT_TIMEOUT_MS: '8000',
    })
    const registered = await registerAll(app)
    const statuses: number[] = []
    for (const one of registered) statuses.push(await use(app, one))
    statuses.push(...(await Promise.all(registered.flatMap((one) => [use(app, one), use(app, one)]))))
    expect(new Set(statuses)).toEqual(new Set([200]))
    expect([app.deps.connections.size, balance(app)]).toEqual([34 + 34 + 28, balanced])

    // A new version each, while each is in use.
    const during = await Promise.all(
      registered.flatMap((one) => [
        use(app, one),
        app.request('PATCH', `${path}/${one.id}`, { body: { description: 'changed' } }).then(({ status }) => status),
        use(app, one),
      ]),
    )
    expect(new Set(during)).toEqual(new Set([200]))

    const gone = await Promise.all(
      registered.flatMap((one) => [
        app.request('DELETE', `${path}/${one.id}`).then(({ status }) => status),
        use(app, one),
      ]),
    )
    expect(gone.every((status) => [200, 204, 404].includes(status))).toBe(true)
    await eventually(() => app.deps.connections.metrics().live === 0)
    expect([app.deps.connections.size, balance(app)]).toEqual([0, balanced])
    await eventually(async () => String(await sockets()) === '0,0,0')
    await app[Symbol.asyncDispose]()
    expect(balance(app)).toEqual(balanced)
  }, 60_000)

  test('with room for six of each at most, sockets keep to MAX_*_CONNECTIONS', async () => {
    const app = await createApp({
      MAX_REDIS_CONNECTIONS: '24',
      MAX_POSTGRES_CONNECTIONS: '12',
      POSTGRES_MAX_POOL_SIZE: '2',
      MAX_MONGODB_CONNECTIONS: '24',
      MONGODB_MAX_POOL_SIZE: '2',
      POOL_WAIT_TIMEOUT_MS: '10000',
    })
    const registered = await registerAll(app)
    const most = [0, 0, 0]
    let watching = true
    const watch = async () => {
      while (watching)
        for (const [index, count] of (await sockets()).entries()) most[index] = Math.max(most[index] ?? 0, count)
    }
    const watched = watch()
    const statuses: number[] = []
    for (let from = 0; from < registered.length; from += 12)
      statuses.push(...(await Promise.all(registered.slice(from, from + 12).map((one) => use(app, one)))))
    watching = false
    await watched
    console.log(`sockets at most: redis, postgres, mongodb: ${most.join(', ')}`)
    expect([new Set(statuses), most.map((count, index) => count <= ([24, 12, 24][index] ?? 0)), balance(app)]).toEqual([
      new Set([200]),
      [true, true, true],
      balanced,
    ])
    await app[Symbol.asyncDispose]()
    await eventually(async () => String(await sockets()) === '0,0,0')
  }, 60_000)

  test('a process that closed its sessions has nothing left to wait for', async () => {
    await using scratch = await createScratchDatabase(postgres18)
    const child = Bun.spawn(
      [process.execPath, join(import.meta.dir, 'connections-child.ts'), ...kinds.map((kind) => kind.url(1))],
      {
        cwd: join(import.meta.dir, '..', '..'),
        env: {
          PATH: process.env['PATH'] ?? '',
          ...testKeys(),
          DATABASE_URL: scratch.url,
          EGRESS_ALLOW: '*',
          LOG_LEVEL: 'warn',
        },
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
      },
    )
    const line = await new Response(child.stdout).text()
    expect(JSON.parse(line)).toMatchObject({ statuses: [200, 200, 200], live: 0, opened: 3, closed: 3 })
    expect([await child.exited, await new Response(child.stderr).text()]).toEqual([0, ''])
  }, 20_000)
})
