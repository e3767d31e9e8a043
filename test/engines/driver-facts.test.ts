import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import {
  closesAtOnce,
  type FakeBehaviour,
  http,
  postgresClosesAfterPassword,
  postgresClosesAfterStartup,
  silent,
  sshBanner,
  startFakeServer,
} from '#test/support/fake-servers.ts'
import { canary, stores } from '#test/support/stores.ts'
import { counted, eventually, message, recorded } from './peers.ts'

let app: TestApp
beforeAll(async () => {
  app = await createTestApp()
})
afterAll(async () => {
  await app?.[Symbol.asyncDispose]()
})

const urls = {
  redis: (port: number) => `redis://:${canary}@127.0.0.1:${port}/0`,
  rediss: (port: number) => `rediss://:${canary}@127.0.0.1:${port}/0`,
  postgres: (port: number) => `postgres://u:${canary}@127.0.0.1:${port}/d`,
  'postgres with TLS': (port: number) => `postgres://u:${canary}@127.0.0.1:${port}/d?sslmode=require`,
}
const kindOf = (form: keyof typeof urls) => (form.startsWith('redis') ? 'redis' : 'postgres')
const closesAfterFirstBytes: FakeBehaviour = (socket) => void socket.once('data', () => socket.end())

describe('a server that closes while a session begins', () => {
  const cases = [
    ['redis', 'closes at once', closesAtOnce],
    ['redis', 'closes after AUTH', closesAfterFirstBytes],
    ['postgres', 'closes at once', closesAtOnce],
    ['postgres', 'closes during start-up', postgresClosesAfterStartup],
    ['postgres', 'closes after the password', postgresClosesAfterPassword],
    ['postgres with TLS', 'closes when asked for TLS', closesAfterFirstBytes],
  ] as const

  test('costs at most 5 dials in 10 s of steady requests, each answered with 503 within 5 s', async () => {
    const outcomes = await Promise.all(
      cases.map(async ([form, name, behaviour], index) => {
        await using server = await startFakeServer(behaviour)
        const kind = kindOf(form)
        const body = {
          projectRef: 'default',
          name: `closes-${index}`,
          type: kind,
          connectionString: urls[form](server.port),
        }
        const { id } = (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body
        const statuses = new Set<string>()
        let slowest = 0
        const ask = async () => {
          const started = performance.now()
          const answer =
            kind === 'redis'
              ? await app.request('GET', `/api/platform/redis/${id}/get?key=a`)
              : await app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query: 'select 1' } })
          slowest = Math.max(slowest, performance.now() - started)
          statuses.add(`${answer.status} ${answer.body.error.code} ${answer.headers.get('retry-after')}`)
        }
        const until = performance.now() + 10_000
        while (performance.now() < until) await Promise.all([ask(), ask(), ask(), Bun.sleep(50)])
        return { name, few: server.dials <= 5, statuses: [...statuses], quick: slowest < 5_000 }
      }),
    )
    expect(outcomes).toEqual(
      cases.map(([, name]) => ({ name, few: true, statuses: ['503 DB_CONNECTION_FAILED 2'], quick: true })),
    )
  })
})

describe('variables of the environment', () => {
  const variables = {
    PGPASSWORD: `${canary}-of-the-platform`,
    PGUSER: 'platform_user',
    PGUSERNAME: 'platform_user',
    PGHOST: 'platform.invalid',
    PGPORT: '1',
    PGDATABASE: 'platform_database',
    PGOPTIONS: '-c search_path=platform',
    PGAPPNAME: 'platform_app',
  }
  beforeAll(() => void Object.assign(process.env, variables))
  afterAll(() => {
    for (const name of Object.keys(variables)) delete process.env[name]
  })

  test('never reach another server: not the password, not the name, not the options', async () => {
    const received: string[] = []
    await using server = await startFakeServer(recorded(received, message('R', 3)))
    for (const connectionString of [
      `postgres://stranger@127.0.0.1:${server.port}`,
      `postgres://s:@127.0.0.1:${server.port}/d`,
    ])
      await app.request('POST', '/api/platform/databases/test', { body: { type: 'postgres', connectionString } })
    const [startup, password, secondStartup] = received
    expect(startup?.slice(8)).toBe(
      'user\0stranger\0database\0postgres\0client_encoding\0UTF8\0application_name\0bun-api\0\0',
    )
    expect(password).toBe(message('p', '\0').toString('latin1'))
    expect(secondStartup).toContain('user\0s\0database\0d\0')
    expect(received.join()).not.toMatch(/platform/)
  })

  test('application_name of the connection string is the one that is sent', async () => {
    const received: string[] = []
    await using server = await startFakeServer(recorded(received))
    const connectionString = `postgres://u@127.0.0.1:${server.port}/d?application_name=mine`
    const testing = app.request('POST', '/api/platform/databases/test', {
      body: { type: 'postgres', connectionString },
    })
    await eventually(() => received.length > 0)
    await server.close()
    await testing
    expect(received.join()).toContain('application_name\0mine\0')
  })
})

describe('what the connection string can’t override', () => {
  test('a Redis password without a user is sent as AUTH with one argument, and no HELLO, CLIENT or INFO before it', async () => {
    const received: string[] = []
    await using server = await startFakeServer(recorded(received, Buffer.from('-WRONGPASS no\r\n')))
    await app.request('POST', '/api/platform/databases/test', {
      body: { type: 'redis', connectionString: urls.redis(server.port) },
    })
    expect(received).toEqual([`*2\r\n$4\r\nauth\r\n$${canary.length}\r\n${canary}\r\n`])
  })
})

describe('failed connects', () => {
  const peers = { silent, http, sshBanner, closesAtOnce, postgresClosesAfterStartup, postgresClosesAfterPassword }

  test('leave no socket open and no rejection unhandled', async () => {
    const unhandled: unknown[] = []
    const note = (reason: unknown) => void unhandled.push(reason)
    process.on('unhandledRejection', note).on('uncaughtException', note)
    const left = await Promise.all(
      Object.entries(peers).flatMap(([name, peer]) =>
        (Object.keys(urls) as (keyof typeof urls)[]).map(async (form) => {
          const { behaviour, open } = counted(peer)
          await using server = await startFakeServer(behaviour)
          const body = { type: kindOf(form), connectionString: urls[form](server.port) }
          await app.request('POST', '/api/platform/databases/test', { body })
          await eventually(() => open() === 0).catch(() => undefined)
          return { name, form, open: open(), dialled: server.dials === 1 }
        }),
      ),
    )
    process.off('unhandledRejection', note).off('uncaughtException', note)
    expect(left.filter(({ open, dialled }) => open > 0 || !dialled)).toEqual([])
    expect(unhandled).toEqual([])
  })

  test('that the caller gives up end at once', async () => {
    const { behaviour, open } = counted(silent)
    await using server = await startFakeServer(behaviour)
    const leaving = new AbortController()
    const testing = (Object.keys(urls) as (keyof typeof urls)[]).map((form) =>
      app.request('POST', '/api/platform/databases/test', {
        body: { type: kindOf(form), connectionString: urls[form](server.port) },
        signal: leaving.signal,
      }),
    )
    await eventually(() => open() === 4)
    leaving.abort()
    await eventually(() => open() === 0, 1_000)
    await Promise.allSettled(testing)
  })

  test('of a right target close what the probe opened', async () => {
    const { redis, postgres18 } = stores()
    const connections = async () => {
      const [cache, main] = await Promise.all(
        [cacheId, mainId].map((id) => app.request('GET', `/api/platform/databases/${id}/info`)),
      )
      return [cache?.body.engine.connected_clients, main?.body.engine.connections]
    }
    const { id: cacheId } = await app.register({ name: 'probed-redis', type: 'redis', connectionString: redis?.url })
    const { id: mainId } = await app.register({
      name: 'probed-postgres',
      type: 'postgres',
      connectionString: postgres18.url,
    })
    const before = await connections()
    for (const [type, connectionString] of [
      ['redis', redis?.url],
      ['postgres', postgres18.url],
    ])
      for (let probe = 0; probe < 5; probe++)
        await app.request('POST', '/api/platform/databases/test', { body: { type, connectionString } })
    await eventually(async () => (await connections()).every((count, index) => Number(count) <= Number(before[index])))
  })
})
