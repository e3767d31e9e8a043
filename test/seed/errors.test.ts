import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { bunApiPeer } from '#test/engines/bun-api-peer.ts'
import { newName, path } from '#test/registry/registries.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { silent, startFakeServer } from '#test/support/fake-servers.ts'
import { canary, stores } from '#test/support/stores.ts'

const { redis, mongoAuth, postgres18 } = stores()

type Kind = 'postgres' | 'redis' | 'mongodb' | 'bun_api'

interface Subject {
  /** A connection string for another address or password. */
  url(change: { readonly port?: number; readonly password?: string }): string
  /** A read of the engine's own. */
  read(id: string): readonly [method: string, path: string, body?: object]
  /** A statement the store refuses; `null` where there are none. */
  refused: ((id: string) => readonly [method: string, path: string, body?: object]) | null
}

const missing: ReadonlySet<Kind> = new Set([
  ...(redis === null ? (['redis'] as const) : []),
  ...(mongoAuth === null ? (['mongodb'] as const) : []),
])
const listKey = newName('seed')
const subjects: Readonly<Record<Kind, Subject>> = {
  postgres: {
    url: ({ port = postgres18.port, password = postgres18.reader.password }) =>
      `postgresql://${postgres18.reader.user}:${password}@127.0.0.1:${port}/postgres`,
    read: (id) => ['POST', `/api/platform/postgres/${id}/query`, { query: 'select 1' }],
    refused: (id) => ['POST', `/api/platform/postgres/${id}/query`, { query: 'selec 1' }],
  },
  redis: {
    url: ({ port = redis?.port, password = redis?.password }) => `redis://:${password}@127.0.0.1:${port}/0`,
    read: (id) => ['GET', `/api/platform/redis/${id}/keys`],
    refused: (id) => ['GET', `/api/platform/redis/${id}/get?key=${listKey}`],
  },
  mongodb: {
    url: ({ port = mongoAuth?.port, password = mongoAuth?.users.limited.password }) =>
      `mongodb://limited:${password}@127.0.0.1:${port}/app?authSource=${mongoAuth?.users.limited.authSource}`,
    read: (id) => ['GET', `/api/platform/mongodb/${id}/collections`],
    refused: (id) => ['GET', `/api/platform/mongodb/${id}/stats?databaseName=config`],
  },
  bun_api: {
    url: ({ port = bunApiPeer().port, password = bunApiPeer().key }) => `http://:${password}@127.0.0.1:${port}`,
    read: (id) => ['GET', `/api/platform/bun-api/${id}/info`],
    refused: null,
  },
}

let app: TestApp
beforeAll(async () => {
  app = await createTestApp({ env: { CONNECT_TIMEOUT_MS: '800', REQUEST_TIMEOUT_MS: '3000' } })
  await withRedis((client) => client.lpush(listKey, 'a'))
  // It starts with its first request, which takes longer than a connection may.
  await fetch(`http://127.0.0.1:${bunApiPeer().port}/health`)
})
afterAll(async () => {
  await withRedis((client) => client.del(listKey))
  await app?.[Symbol.asyncDispose]()
})

// Appendix D: its DatabaseError is what `error` holds, and Studio reads the top-level message.
for (const [kind, subject] of Object.entries(subjects) as [Kind, Subject][]) {
  describe.skipIf(missing.has(kind))(`the errors of ${kind}`, () => {
    const register = async (connectionString: string): Promise<string> => {
      const body = { projectRef: 'default', name: newName(), type: kind, connectionString }
      const { status, body: row } = await app.request('POST', `${path}?skipTest=true`, { body })
      expect(status).toBe(201)
      return row.id
    }
    const outcome = async ([method, at, body]: readonly [string, string, object?]) => {
      const answer = await app.request(method, at, body === undefined ? {} : { body })
      const { message, error } = answer.body
      expect(error).toMatchObject({ message, requestId: answer.headers.get('x-request-id') })
      expect(
        Object.keys(error).filter((key) => !['code', 'message', 'details', 'retryable', 'requestId'].includes(key)),
      ).toEqual([])
      return [answer.status, error.code, error.retryable]
    }

    test('503 DB_CONNECTION_FAILED, retryable: nothing listens there', async () => {
      const server = await startFakeServer(silent)
      await server.close()
      const id = await register(subject.url({ port: server.port }))
      expect(await outcome(subject.read(id))).toEqual([503, 'DB_CONNECTION_FAILED', true])
    })

    test('424 DB_INVALID_CREDENTIALS, not retryable: another password', async () => {
      const id = await register(subject.url({ password: `${canary}-wrong` }))
      expect(await outcome(subject.read(id))).toEqual([424, 'DB_INVALID_CREDENTIALS', false])
    })

    test('504 DB_TIMEOUT, retryable for a read: no answer in time', async () => {
      await using server = await startFakeServer(silent)
      const id = await register(subject.url({ port: server.port }))
      expect(await outcome(subject.read(id))).toEqual([504, 'DB_TIMEOUT', true])
    })

    test('404 DB_NOT_FOUND, not retryable: no such database', async () => {
      expect(await outcome(subject.read(crypto.randomUUID()))).toEqual([404, 'DB_NOT_FOUND', false])
    })

    const { refused } = subject
    if (refused === null) return
    test('400 DB_QUERY_ERROR, not retryable: what the store refuses', async () => {
      const id = await register(subject.url({}))
      expect(await outcome(refused(id))).toEqual([400, 'DB_QUERY_ERROR', false])
    })
  })
}

test('the code never comes from a message: one that says auth or ECONNREFUSED is what its own code says', async () => {
  const { id } = await app.register({ name: newName(), type: 'postgres', connectionString: subjects.postgres.url({}) })
  const codeOf = async (query: string) =>
    (await app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query } })).body.error
  for (const query of [
    'select auth_failed',
    "select 'ECONNREFUSED'::int",
    "select 'password authentication failed'::int",
  ])
    expect(await codeOf(query)).toMatchObject({ code: 'DB_QUERY_ERROR', retryable: false })
  const connectionString = 'postgres://u@auth-econnrefused.invalid/db'
  const { body } = await app.request('POST', `${path}/test`, { body: { type: 'postgres', connectionString } })
  expect(body.error).toMatchObject({ code: 'DB_CONNECTION_FAILED', details: { reason: 'dns' } })
})

async function withRedis(work: (client: Redis) => Promise<unknown>): Promise<void> {
  if (redis === null) return
  const client = new Redis(redis.url)
  try {
    await work(client)
  } finally {
    client.disconnect()
  }
}
