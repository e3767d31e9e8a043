import { afterAll, beforeAll } from 'bun:test'
import { Redis } from 'ioredis'
import { createTestApp, type TestApp, type TestAppOptions } from './app.ts'
import { type RedisCluster, startCluster } from './redis-cluster.ts'
import type { RedisStore } from './stores.ts'

/** An app with one logical database of a Redis, for the tests of one `describe`. */
export interface RedisApp {
  /** Made before the first test; what asks it earlier throws. */
  readonly app: TestApp
  /** On the same logical database, which is emptied before the first test and after the last. */
  readonly raw: Redis
  /** Of that logical database, or of another one. */
  readonly url: (db?: number) => string
  /** The id it is registered with, before the first test. */
  readonly id: () => string
  /** Registers before the first test whatever differs from it. */
  readonly registered: (more?: Readonly<Record<string, unknown>>) => () => string
}

/** Makes it before the tests of the `describe` that asks for it, and closes all of it after them. */
export function redisApp(store: RedisStore, db: number, options: TestAppOptions = {}): RedisApp {
  const { host, port, password } = store
  const raw = new Redis({ host, port, password, db, lazyConnect: true })
  const url = (of = db) => store.url.replace(/\/0$/, `/${of}`)
  let made: TestApp | undefined
  let databases = 0
  beforeAll(async () => {
    await raw.flushdb()
    made = await createTestApp(options)
  })
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await made?.[Symbol.asyncDispose]()
  })

  const app = madeLater(() => made)
  const registered: RedisApp['registered'] = (more = {}) => {
    let id = ''
    const name = `redis-${++databases}`
    beforeAll(async () => {
      id = (await app.register({ name, type: 'redis', connectionString: url(), ...more })).id
    })
    return () => id
  }
  return { app, raw, url, id: registered(), registered }
}

/** An app with a cluster of three primaries, for the tests of one `describe`. */
export interface ClusterApp {
  readonly app: TestApp
  /** A route of the registered cluster. */
  readonly path: (route: string) => string
}

/** Starts it before the tests of the `describe` that asks for it, and ends all of it after them. */
export function clusterApp(): ClusterApp {
  let cluster: RedisCluster | undefined
  let made: TestApp | undefined
  let id = ''
  beforeAll(async () => {
    cluster = await startCluster(3, 0)
    made = await createTestApp()
    const { url, config } = cluster
    id = (await made.register({ name: 'cluster', type: 'redis', connectionString: url, config })).id
  }, 60_000)
  afterAll(async () => {
    await made?.[Symbol.asyncDispose]()
    await cluster?.[Symbol.asyncDispose]()
  })
  return { app: madeLater(() => made), path: (route) => `/api/platform/redis/${id}/${route}` }
}

/** Stands for the app that `beforeAll` makes; what asks it earlier throws. */
function madeLater(made: () => TestApp | undefined): TestApp {
  return new Proxy({} as TestApp, {
    get(_, name) {
      const app = made()
      if (app === undefined) throw new Error('the app is made in beforeAll')
      return Reflect.get(app, name)
    },
  })
}
