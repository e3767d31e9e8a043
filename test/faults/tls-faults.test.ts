import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { expectations } from '#test/engines/conformance.ts'
import { eventually } from '#test/engines/peers.ts'
import type { EngineKind } from '#src/engines/index.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'

describe('a connection over TLS', () => {
  const unhandled: unknown[] = []
  const note = (reason: unknown) => void unhandled.push(reason)
  let app: TestApp
  beforeAll(async () => {
    process.on('unhandledRejection', note).on('uncaughtException', note)
    app = await createTestApp()
  })
  afterAll(async () => {
    process.off('unhandledRejection', note).off('uncaughtException', note)
    await app?.[Symbol.asyncDispose]()
  })

  const ask = (kind: EngineKind, id: string, seconds = 0) =>
    kind === 'redis'
      ? app.request('GET', `/api/platform/redis/${id}/keys?count=1`)
      : app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query: `select pg_sleep(${seconds})` } })
  const connections = async (kind: EngineKind, id: string) => {
    const { body } = await app.request('GET', `/api/platform/databases/${id}/info`)
    return Number(kind === 'redis' ? body.engine.connected_clients : body.engine.connections)
  }

  for (const kind of ['postgres', 'redis'] as const) {
    const expected = expectations()[kind]
    const target = (port: number) => ({
      type: kind,
      connectionString: expected.url({ port, tls: 'full' }),
      config: { caCertificate: expected.ca },
    })

    test(`that is reset, idle or at work, is a 503 or unnoticed with ${kind}, and never unhandled`, async () => {
      await using proxy = await startFaultProxy('127.0.0.1', expected.tlsPort)
      const { id } = await app.register({ name: `resets-${kind}`, ...target(proxy.port) })
      const recovers = () => eventually(async () => (await ask(kind, id)).status === 200)
      await recovers()
      for (let round = 0; round < 3; round++) {
        proxy.resetAll()
        await recovers()
        proxy.setDelay(100)
        const working = ask(kind, id, 1)
        await Bun.sleep(50)
        proxy.resetAll()
        proxy.setDelay(0)
        const { status, body } = await working
        // A read that was lost before any reply is tried once more.
        if (kind !== 'redis' || status !== 200)
          expect([status, body.error?.code]).toEqual([503, 'DB_CONNECTION_FAILED'])
        await recovers()
      }
      expect(unhandled).toEqual([])
    })

    test(`is closed after a probe of ${kind}`, async () => {
      const { id } = await app.register({ name: `probed-${kind}`, ...target(expected.tlsPort) })
      const before = await connections(kind, id)
      const probes = Array.from({ length: 10 }, () =>
        app.request('POST', '/api/platform/databases/test', { body: target(expected.tlsPort) }),
      )
      expect((await Promise.all(probes)).map(({ body }) => body.ok)).toEqual(Array(10).fill(true))
      await eventually(async () => (await connections(kind, id)) <= before)
      expect(unhandled).toEqual([])
    })
  }
})
