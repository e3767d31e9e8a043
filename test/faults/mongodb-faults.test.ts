import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { BSON, type Document, MongoClient, MongoServerError } from 'mongodb'
import { translate } from '#src/engines/mongodb/errors.ts'
import { counted, eventually, replies } from '#test/engines/peers.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import {
  closesAtOnce,
  type FakeBehaviour,
  fakeMongod,
  http,
  silent,
  startFakeServer,
} from '#test/support/fake-servers.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { canary } from '#test/support/stores.ts'
import { startOwnMongod } from './own-mongod.ts'

const unhandled: unknown[] = []
const note = (reason: unknown) => void unhandled.push(reason)
let app: TestApp
beforeAll(async () => {
  process.on('unhandledRejection', note).on('uncaughtException', note)
  app = await createTestApp({ env: { REQUEST_TIMEOUT_MS: '2000' } })
})
afterEach(() => expect(unhandled).toEqual([]))
afterAll(async () => {
  process.off('unhandledRejection', note).off('uncaughtException', note)
  await app?.[Symbol.asyncDispose]()
})

let names = 0
const add = async (connectionString: string): Promise<string> => {
  const body = { projectRef: 'default', name: `faults-${names++}`, type: 'mongodb', connectionString }
  return (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body.id
}
const probe = (connectionString: string) =>
  app.request('POST', '/api/platform/databases/test', { body: { type: 'mongodb', connectionString } })
const get = async (id: string, path = 'documents?collection=a&databaseName=faults') => {
  const started = performance.now()
  const { status, body, headers } = await app.request('GET', `/api/platform/mongodb/${id}/${path}`)
  return { status, code: body?.error?.code, body, headers, ms: performance.now() - started }
}

const greets = (onCommand: (command: Document) => Document | undefined = () => undefined) =>
  fakeMongod(() => ({}), onCommand)

describeWith('mongo', 'MongoDB that fails', (store) => {
  const direct = `mongodb://${store.host}:${store.port}/faults?directConnection=true`
  const failCommand = (data: Document, times: number) =>
    new MongoClient(store.url).connect().then(async (client) => {
      await client.db('admin').command({
        configureFailPoint: 'failCommand',
        mode: times === 0 ? 'off' : { times },
        data: { appName: 'bun-api', ...data },
      })
      await client.close()
    })

  test.skipIf(store.pid === null)(
    '504 when it hangs, half-way to the deadline; other databases are not slower; 200 within 10 s after it goes on',
    async () => {
      await using other = await startFakeServer(
        greets((command) => ('listDatabases' in command ? { databases: [] } : undefined)),
      )
      const otherId = await add(`mongodb://127.0.0.1:${other.port}`)
      const id = await add(direct)
      expect((await get(id)).status).toBe(200)
      process.kill(store.pid ?? 0, 'SIGSTOP')
      try {
        const waiting = Promise.all(Array.from({ length: 3 }, () => get(id)))
        const others: number[] = []
        for (const until = performance.now() + 700; performance.now() < until;) {
          const { status, ms } = await get(otherId, 'databases')
          expect(status).toBe(200)
          others.push(ms)
        }
        expect(others.toSorted((a, b) => a - b).at(Math.floor(others.length * 0.99))).toBeLessThan(100)
        const answers = await waiting
        for (const { status, code, body, ms } of answers) {
          expect([status, code, body.error.retryable]).toEqual([504, 'DB_TIMEOUT', true])
          expect(ms).toBeWithin(750, 2_250)
        }
        const { body } = await probe(direct)
        expect(body.error).toMatchObject({ code: 'DB_TIMEOUT', details: { stage: 'auth' } })
      } finally {
        process.kill(store.pid ?? 0, 'SIGCONT')
      }
      await eventually(async () => (await get(id)).status === 200, 10_000)
    },
    30_000,
  )

  test('503 DB_NOT_PRIMARY within 1 s when it steps down, and 200 at the next call', async () => {
    const id = await add(store.url)
    await get(id)
    for (const errorCode of [10107, 13435, 189]) {
      await failCommand({ failCommands: ['find'], errorCode }, 1)
      const { status, code, headers, ms } = await get(id)
      expect([status, code, headers.get('retry-after'), ms < 1_000]).toEqual([503, 'DB_NOT_PRIMARY', '1', true])
      expect((await get(id)).status).toBe(200)
    }
  })

  test('each error by its code: what the caller did, what the server did', async () => {
    const id = await add(direct)
    await get(id)
    const expected = [
      [13, 400, 'DB_QUERY_ERROR'],
      [18, 424, 'DB_INVALID_CREDENTIALS'],
      [50, 504, 'DB_TIMEOUT'],
      [91, 503, 'DB_CONNECTION_FAILED'],
      [11600, 503, 'DB_CONNECTION_FAILED'],
      [2, 400, 'DB_QUERY_ERROR'],
      [999_999, 400, 'DB_QUERY_ERROR'],
    ] as const
    const seen: unknown[] = []
    for (const [errorCode] of expected) {
      await failCommand({ failCommands: ['find'], errorCode }, 1)
      const { status, code } = await get(id)
      seen.push([errorCode, status, code])
    }
    expect(seen).toEqual(expected.map((row) => [...row]))
    // A fail point can't make one: the server demands the key with it.
    const duplicate = translate(new MongoServerError({ code: 11000, keyPattern: { a: 1 } }))
    expect([duplicate.status, duplicate.code, duplicate.details]).toEqual([409, 'DB_CONFLICT', { code: 11000 }])
  })

  test('503 for a connection that is cut in the middle of a reply, and 200 afterwards', async () => {
    await using proxy = await startFaultProxy(store.host, store.port)
    const id = await add(direct.replace(`:${store.port}`, `:${proxy.port}`))
    await using client = new MongoClient(store.url)
    await client
      .db('faults')
      .collection('wide')
      .insertMany(Array.from({ length: 50 }, () => ({ x: 'x'.repeat(1000) })))
    const wide = 'documents?collection=wide&databaseName=faults'
    expect((await get(id, wide)).status).toBe(200)
    proxy.cutAfterBytes(20_000)
    const { status, code } = await get(id, wide)
    expect([status, code]).toEqual([503, 'DB_CONNECTION_FAILED'])
    await eventually(async () => (await get(id, wide)).status === 200)
    await client.db('faults').dropDatabase()
  })

  test('sockets go when sessions and probes do', async () => {
    await using client = new MongoClient(store.url)
    const connections = async () =>
      Number((await client.db('admin').command({ serverStatus: 1 }))['connections']['current'])
    await using own = await createTestApp()
    const before = await connections()
    const { id } = await own.register({ name: 'sockets', type: 'mongodb', connectionString: store.url })
    await own.request('GET', `/api/platform/mongodb/${id}/databases`)
    expect(await connections()).toBeGreaterThan(before)
    for (let count = 0; count < 5; count++) await own.request('POST', `/api/platform/databases/${id}/test`)
    await own.request('DELETE', `/api/platform/databases/${id}`)
    await eventually(async () => (await connections()) <= before)
  })
})

describeWith('mongo', 'MongoDB that dies', () => {
  test('503 at once when it is killed, and 200 within 5 s of its restart', async () => {
    await using own = await startOwnMongod()
    const id = await add(own.url)
    expect((await get(id)).status).toBe(200)
    await own.kill()
    for (let request = 0; request < 20; request++) {
      const { status, code, headers, ms } = await get(id)
      expect([status, code, headers.get('retry-after')]).toEqual([503, 'DB_CONNECTION_FAILED', '2'])
      expect(ms).toBeLessThan(2_250)
      await Bun.sleep(50)
    }
    await own.start()
    await eventually(async () => (await get(id)).status === 200, 5_000)
  }, 40_000)
})

describe('a server that closes while a session begins', () => {
  const closesAfterHello: FakeBehaviour = (socket, index) => {
    let messages = 0
    socket.on('data', () => void (++messages > 1 && socket.destroy()))
    greets()(socket, index)
  }

  test('costs at most 5 rounds of dials in 10 s of steady requests', async () => {
    const peers = { closesAtOnce, closesAfterHello }
    const outcomes = await Promise.all(
      Object.entries(peers).map(async ([name, behaviour]) => {
        await using server = await startFakeServer(behaviour)
        const id = await add(`mongodb://u:${canary}@127.0.0.1:${server.port}/app`)
        const codes = new Set<string>()
        const ask = async () => {
          const { status, code, ms } = await get(id)
          codes.add(`${status} ${code} ${ms < 5_000}`)
        }
        const until = performance.now() + 10_000
        while (performance.now() < until) await Promise.all([ask(), ask(), ask(), Bun.sleep(50)])
        return { name, dials: server.dials, codes: [...codes] }
      }),
    )
    for (const { codes } of outcomes) for (const code of codes) expect(code).toMatch(/^50[34] DB_\w+ true$/)
    expect(outcomes.find(({ name }) => name === 'closesAtOnce')?.dials).toBeLessThanOrEqual(5)
    // Each round is a greeting, a monitor and a connection of the pool.
    expect(outcomes.find(({ name }) => name === 'closesAfterHello')?.dials).toBeLessThanOrEqual(15)
  }, 20_000)
})

describe('failed probes', () => {
  test('100 leave no socket, no timer that dials again, and no rejection', async () => {
    const noSasl = greets((command) => ('saslStart' in command ? { ok: 0, code: 18, codeName: 'x' } : undefined))
    const peers = { noSasl, closesAtOnce, http, silent: replies() }
    for (const [name, peer] of Object.entries(peers)) {
      const { behaviour, open } = counted(peer)
      await using server = await startFakeServer(behaviour)
      const url = `mongodb://u:${canary}@127.0.0.1:${server.port}/app`
      await Promise.all(Array.from({ length: 25 }, () => probe(url)))
      await eventually(() => open() === 0)
      const after = server.dials
      await Bun.sleep(700)
      expect([name, server.dials - after, open()]).toEqual([name, 0, 0])
    }
  }, 30_000)

  test('that the caller gives up end at once', async () => {
    const { behaviour, open } = counted(silent)
    await using server = await startFakeServer(behaviour)
    const leaving = new AbortController()
    const testing = app.request('POST', '/api/platform/databases/test', {
      body: { type: 'mongodb', connectionString: `mongodb://127.0.0.1:${server.port}` },
      signal: leaving.signal,
    })
    await eventually(() => open() === 1)
    leaving.abort()
    await eventually(() => open() === 0, 1_000)
    await testing.catch(() => undefined)
  })
})

describe('the time a command may take', () => {
  test('is sent with each, and lies below the deadline', async () => {
    const sent: Document[] = []
    await using server = await startFakeServer(
      greets((command) => {
        sent.push(command)
        const cursor = { id: BSON.Long.ZERO, ns: 'a.b', firstBatch: [] }
        if ('find' in command || 'listCollections' in command) return { cursor }
        return 'listDatabases' in command ? { databases: [] } : 'dbStats' in command ? { db: 'a' } : undefined
      }),
    )
    const id = await add(`mongodb://127.0.0.1:${server.port}/app`)
    for (const path of ['databases', 'collections', 'stats', 'documents?collection=a'])
      expect([path, (await get(id, path)).status]).toEqual([path, 200])
    const names = ['listDatabases', 'listCollections', 'dbStats', 'find'] as const
    for (const name of names)
      for (const command of sent.filter((candidate) => name in candidate))
        expect([name, Number(command['maxTimeMS']) <= 1_500]).toEqual([name, true])
  })
})
