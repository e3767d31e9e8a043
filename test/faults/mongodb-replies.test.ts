import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { replies } from '#test/engines/peers.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { type FakeBehaviour, fakeMongod, startFakeServer } from '#test/support/fake-servers.ts'
import { canary } from '#test/support/stores.ts'
import type { Document } from 'mongodb'

const unhandled: unknown[] = []
const note = (reason: unknown) => void unhandled.push(reason)
let app: TestApp
beforeAll(async () => {
  process.on('unhandledRejection', note).on('uncaughtException', note)
  app = await createTestApp()
})
afterEach(() => expect(unhandled).toEqual([]))
afterAll(async () => {
  process.off('unhandledRejection', note).off('uncaughtException', note)
  await app?.[Symbol.asyncDispose]()
})

const probe = (connectionString: string) =>
  app.request('POST', '/api/platform/databases/test', { body: { type: 'mongodb', connectionString } })
const greets = (onCommand: (command: Document) => Document | undefined) => fakeMongod(() => ({}), onCommand)

describe('replies that are none', () => {
  const marker = 'P33RBYT3S'
  const message = (length: number, opCode: number, body = Buffer.from(marker)) => {
    const head = Buffer.alloc(16)
    head.writeInt32LE(length, 0)
    head.writeInt32LE(opCode, 12)
    return Buffer.concat([head, body])
  }
  const peers: Readonly<Record<string, FakeBehaviour>> = {
    'a length of two thousand million': replies(message(0x7fff_ffff, 2013)),
    'a negative length': replies(message(-1, 2013)),
    'a length of zero': replies(message(0, 2013)),
    'an unknown operation': replies(message(25, 1)),
    'a body that is no BSON': replies(message(25, 2013)),
    'a document longer than its message': replies(
      message(26, 2013, Buffer.from([0, 0, 0, 0, 0, 255, 255, 255, 127, 0])),
    ),
    'an error with secrets of a peer': greets(() => ({ ok: 0, code: 59, errmsg: marker, codeName: marker })),
    'SCRAM that proves nothing': greets((command) =>
      'saslStart' in command ? { conversationId: 1, done: true, payload: Buffer.from(marker) } : undefined,
    ),
    'a compressed greeting': greets((command) =>
      'hello' in command ? { compression: [marker], ok: 'yes' } : undefined,
    ),
    'wire versions of the future': fakeMongod(() => ({ minWireVersion: 99, maxWireVersion: 99 })),
    'wire versions of the past': fakeMongod(() => ({ minWireVersion: 0, maxWireVersion: 3 })),
  }
  for (const [name, behaviour] of Object.entries(peers))
    test(`ok: false, no bytes of the peer and no 500: ${name}`, async () => {
      await using server = await startFakeServer(behaviour)
      const { status, body, text } = await probe(`mongodb://u:${canary}@127.0.0.1:${server.port}/app`)
      expect([status, body.ok]).toEqual([200, false])
      expect(['DB_CONNECTION_FAILED', 'DB_TIMEOUT', 'DB_UNSUPPORTED', 'DB_QUERY_ERROR']).toContain(body.error.code)
      expect(text).not.toContain(marker)
    })
})
