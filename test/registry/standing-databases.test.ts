import { describe, expect, test } from 'bun:test'
import { describeRegistries, inRegistry, newName, path } from './registries.ts'
import { createDeps, type Deps } from '#src/deps.ts'
import { createLog } from '#src/log.ts'
import { mongodb } from '#src/engines/mongodb/engine.ts'
import { callWithin } from '#src/engines/engine.ts'
import { loadConfig } from '#src/config.ts'
import { productionEnvironment, startServer } from '#test/e2e/server.ts'
import { createScratchDatabase, createTestApp, type TestApp, testKeys } from '#test/support/app.ts'
import { canary, testPassword } from '#test/support/credentials.ts'
import { stores } from '#test/support/stores.ts'

const { redis, mongo, postgres18 } = stores()
const password = testPassword()
// Nothing listens on port 1, which is nobody's business at the start.
const env = { REDIS_URL: `redis://:${password}@127.0.0.1:1/2`, MONGODB_URL: `mongodb://u:${password}@127.0.0.1:1/app` }

const listed = async (app: TestApp) =>
  (await app.request('GET', path)).body
    .map(({ name, type, project_ref, connection_string }: Readonly<Record<string, string>>) => [
      name,
      type,
      project_ref,
      connection_string,
    ])
    .toSorted()
const both = [
  ['mongodb', 'mongodb', 'default', 'mongodb://u:****@127.0.0.1:1/app'],
  ['redis', 'redis', 'default', 'redis://:****@127.0.0.1:1/2'],
]

describeRegistries(
  'REDIS_URL and MONGODB_URL',
  (get) => {
    test('are registered in project default at the first start, though their stores are down', async () => {
      expect(await listed(get())).toEqual(both)
      const [row] = (await get().request('GET', `${path}?types=redis`)).body
      expect((await get().request('GET', `/api/platform/redis/${row.id}/keys`)).body.error.code).toBe(
        'DB_CONNECTION_FAILED',
      )
      expect(row).toMatchObject({ last_connected_at: null, version: 1 })
    })

    test('are sealed in the registry, noted in the log by their variables alone', async () => {
      const dump = await inRegistry(get(), async (sql) =>
        JSON.stringify([
          await sql`select * from platform.databases`,
          await sql`select * from platform.standing_databases`,
        ]),
      )
      const lines = get().logLines.filter((line) => line.includes('"registered"'))
      expect([
        dump.includes(canary),
        dump.match(/enc:v1:/g)?.length,
        lines.map((line) => JSON.parse(line).variable),
      ]).toEqual([false, 2, ['REDIS_URL', 'MONGODB_URL']])
    })
  },
  { env },
)

describe('at a later start', () => {
  interface Starting {
    readonly start: (more?: Readonly<Record<string, string>>) => Promise<Deps>
    readonly names: () => Promise<readonly string[]>
  }
  const starting = async (work: (starting: Starting) => Promise<void>) => {
    await using scratch = await createScratchDatabase(postgres18)
    const keys = testKeys()
    const start: Starting['start'] = (more = env) =>
      createDeps(loadConfig({ ...keys, DATABASE_URL: scratch.url, ...more }), { log: createLog('silent') })
    const names = async () => {
      await using deps = await start({})
      return (await deps.databases.list({ limit: 10 })).map(({ name }) => name).toSorted()
    }
    await work({ start, names })
  }

  test('they are not registered again, neither changed nor removed', () =>
    starting(async ({ start, names }) => {
      {
        await using deps = await start()
        const row = await deps.databases.getByName('default', 'redis')
        await deps.registry.remove(row?.id ?? '', undefined)
        const other = await deps.databases.getByName('default', 'mongodb')
        await deps.registry.update(other?.id ?? '', { name: 'renamed' }, undefined, new AbortController().signal)
      }
      await using _again = await start({ ...env, REDIS_URL: 'redis://another.test' })
      expect(await names()).toEqual(['renamed'])
    }))

  test('a variable that comes later is registered then', () =>
    starting(async ({ start, names }) => {
      await (await start({}))[Symbol.asyncDispose]()
      expect(await names()).toEqual([])
      await (await start({ REDIS_URL: env.REDIS_URL }))[Symbol.asyncDispose]()
      expect(await names()).toEqual(['redis'])
      await (await start())[Symbol.asyncDispose]()
      expect(await names()).toEqual(['mongodb', 'redis'])
    }))

  test("somebody else's database of that name is left alone", () =>
    starting(async ({ start }) => {
      {
        await using deps = await start({})
        const input = {
          projectRef: 'default',
          name: 'redis',
          type: 'redis',
          connectionString: 'redis://mine.test',
        } as const
        await deps.registry.create(input, true, new AbortController().signal)
      }
      await using deps = await start()
      expect(await deps.databases.getByName('default', 'redis')).toMatchObject({ host: 'mine.test', version: 1 })
    }))

  test('without a project default nothing is registered, until there is one', () =>
    starting(async ({ start, names }) => {
      {
        await using deps = await start({})
        await deps.projects.removeProject('default', false)
        await using _without = await start()
        expect(await deps.databases.list({ limit: 10 })).toEqual([])
        await deps.projects.createProject({ ref: 'default', name: 'Default', organizationSlug: 'default' } as never)
      }
      await (await start())[Symbol.asyncDispose]()
      expect(await names()).toEqual(['mongodb', 'redis'])
    }))

  test('two that start together register each once', () =>
    starting(async ({ start, names }) => {
      const started = await Promise.all([start(), start(), start()])
      await Promise.all(started.map((deps) => deps[Symbol.asyncDispose]()))
      expect(await names()).toEqual(['mongodb', 'redis'])
    }))
})

describe('a URL that is none', () => {
  const cases = [
    ['REDIS_URL', `redis://:${password}@`],
    ['REDIS_URL', `redis://:${password}@store.test/notanumber`],
    ['REDIS_URL', `redis://:${password}@store.test/99`],
    ['REDIS_URL', `http://:${password}@store.test`],
    ['MONGODB_URL', `mongodb://u:${password}@`],
    ['MONGODB_URL', `mongodb://u:${password}@store.test/app?unknown=${canary}`],
    ['MONGODB_URL', `mongodb://u:${password}@store.test:none/app`],
  ] as const
  test('exit 78 naming the variable, never the value', async () => {
    await using scratch = await createScratchDatabase(postgres18)
    const production = productionEnvironment(scratch.url)
    const secrets = (text: string) => text.includes(canary) || text.includes('store.test')
    for (const [variable, value] of cases) {
      await using server = startServer({ env: { ...production, [variable]: value } })
      const code = await server.exited
      const printed = server.errors() + server.lines.join()
      expect([value, code, printed.includes(variable), secrets(printed)]).toEqual([value, 78, true, false])
    }
  }, 60_000)
})

test.skipIf(redis === null || mongo === null)('the stores of REDIS_URL and MONGODB_URL can be used', async () => {
  await using app = await createTestApp({
    registry: 'postgres18',
    env: { REDIS_URL: redis?.url ?? '', MONGODB_URL: mongo?.url ?? '' },
  })
  const { name } = { name: newName() }
  const row = async (called: string) => (await app.deps.databases.getByName('default', called))?.id ?? ''
  const set = await app.request('POST', `/api/platform/redis/${await row('redis')}/set`, {
    body: { key: name, value: 'v' },
  })
  using call = callWithin(5_000)
  await using session = await app.deps.open(mongodb, await row('mongodb'), call)
  await session.ping(call)
  expect(set.status).toBe(200)
})
