import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { counted, eventually, message, replies, sessionBegins } from '#test/engines/peers.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { type FakeBehaviour, startFakeServer } from '#test/support/fake-servers.ts'
import { canary } from '#test/support/stores.ts'

const marker = 'P33RBYT3S'
const unhandled: unknown[] = []
const note = (reason: unknown) => void unhandled.push(reason)
let app: TestApp

beforeAll(async () => {
  process.on('unhandledRejection', note).on('uncaughtException', note)
  app = await createTestApp({ env: { CONNECT_TIMEOUT_MS: '1000' } })
})
afterAll(async () => {
  process.off('unhandledRejection', note).off('uncaughtException', note)
  await app?.[Symbol.asyncDispose]()
})

const request = (code: number, ...rest: readonly (Uint8Array | string | number)[]) => message('R', code, ...rest)
const error = (code: string) => message('E', `SFATAL\0VFATAL\0C${code}\0M${marker}\0D${marker}\0H${marker}\0\0`)
const short = (type: string, length: number) =>
  Buffer.concat([Buffer.from(type), Buffer.from(new Uint32Array([length]).buffer).reverse()])
const floods =
  (head: Uint8Array): FakeBehaviour =>
  (socket) => {
    const chunk = Buffer.alloc(1_048_576, 0x41)
    socket.once('data', () => {
      socket.write(head)
      const pour = () => {
        while (!socket.destroyed && socket.write(chunk));
      }
      socket.on('drain', pour)
      pour()
    })
  }

const peers: Readonly<Record<'postgres' | 'redis', Readonly<Record<string, FakeBehaviour>>>> = {
  postgres: {
    'an error with secrets of a peer': replies(error('22000')),
    'an error without a code': replies(error('')),
    'a code that is none': replies(error(marker)),
    'SCRAM with two thousand million rounds': replies(
      request(10, 'SCRAM-SHA-256\0\0'),
      request(11, 'r=abc,s=AAAA,i=2000000000'),
    ),
    'SCRAM with a malformed challenge': replies(request(10, 'SCRAM-SHA-256\0\0'), request(11, marker)),
    'SCRAM that proves nothing': replies(
      request(10, 'SCRAM-SHA-256\0\0'),
      request(11, 'r=abc,s=AAAA,i=1'),
      Buffer.concat([request(12, 'v=AAAA'), request(0), sessionBegins]),
    ),
    'SASL of another kind': replies(request(10, `${marker}\0\0`)),
    Kerberos: replies(request(7)),
    'a short authentication request': replies(message('R', 'x')),
    'a length of zero': replies(short('R', 0)),
    'a length of four thousand million': replies(short('R', 0xffff_ffff)),
    'an error of two thousand million bytes': floods(short('E', 0x7fff_ffff)),
    'an unknown message': replies(Buffer.concat([request(0), message('?', marker)])),
    'COPY that nobody asked for': replies(sessionBegins, message('G', '\0\0\0')),
    'a row description without an end': replies(sessionBegins, message('T', Buffer.from([0xff, 0xff]), marker)),
    'a row description that is cut short': replies(sessionBegins, message('T', Buffer.from([0, 1]), 'a\0', 1)),
    'a row before its description': replies(sessionBegins, message('D', Buffer.from([0, 1]), 4, marker)),
    'a row longer than its message': replies(
      sessionBegins,
      Buffer.concat([
        message('T', Buffer.from([0, 1]), 'a\0', Buffer.alloc(18)),
        message('D', Buffer.from([0, 1]), 0x7fff_ffff),
      ]),
    ),
    'silence after the start': replies(sessionBegins),
  },
  redis: {
    'an error with secrets of a peer': replies(Buffer.from(`-ERR ${marker}\r\n`)),
    'an error whose code is a secret': replies(Buffer.from(`-${marker.repeat(20)} x\r\n`)),
    'an error without a code': replies(Buffer.from('-\r\n')),
    'a bulk of two thousand million bytes': floods(Buffer.from('$2147483647\r\n')),
    'a bulk without a number': replies(Buffer.from('$abc\r\n')),
    'an array of two thousand million': replies(Buffer.from('*2147483647\r\n')),
    'an array beyond what an array can hold': replies(Buffer.from('*99999999999\r\n')),
    'a hundred thousand arrays in one another': replies(Buffer.from('*1\r\n'.repeat(100_000))),
    'a line without an end': floods(Buffer.from('+')),
    'replies that nobody asked for': replies(Buffer.from('+OK\r\n'.repeat(1_000))),
    'a push of RESP3': replies(Buffer.from('>2\r\n+invalidate\r\n*0\r\n')),
    'an answer of another type': replies(
      Buffer.from('*1\r\n$1\r\na\r\n'),
      Buffer.from(':1\r\n'),
      Buffer.from('$-1\r\n'),
    ),
    'silence after the start': replies(Buffer.from('+OK\r\n')),
  },
}

for (const type of ['postgres', 'redis'] as const) {
  describe(`a ${type} server that answers`, () => {
    for (const [name, peer] of Object.entries(peers[type])) {
      test(`${name}: an error in time, nothing of it repeated, nothing left behind`, async () => {
        const { behaviour, open } = counted(peer)
        await using server = await startFakeServer(behaviour)
        const user = type === 'postgres' ? 'u' : ''
        const connectionString = `${type}://${user}:${canary}@127.0.0.1:${server.port}`
        const before = process.memoryUsage().rss
        const started = performance.now()
        const { status, body, text } = await app.request('POST', '/api/platform/databases/test', {
          body: { type, connectionString },
        })
        expect(performance.now() - started).toBeLessThan(5_250)
        expect(status).toBe(200)
        if (!body.ok) expect([400, 424, 503, 504]).toContain(statusOf(body.error.code))
        expect(text).not.toContain(marker)
        expect(process.memoryUsage().rss - before).toBeLessThan(128 * 1024 * 1024)
        await eventually(() => open() === 0)
        expect(unhandled).toEqual([])
      })
    }
  })
}

test('a server that sends more than its consent to TLS is not believed the rest', async () => {
  await using server = await startFakeServer(replies(Buffer.concat([Buffer.from('S'), sessionBegins])))
  const connectionString = `postgres://u:${canary}@127.0.0.1:${server.port}/d?sslmode=require`
  const { body } = await app.request('POST', '/api/platform/databases/test', {
    body: { type: 'postgres', connectionString },
  })
  expect(body.error).toMatchObject({ code: 'DB_CONNECTION_FAILED', details: { reason: 'protocol', stage: 'tls' } })
})

const statuses: Readonly<Record<string, number>> = {
  DB_QUERY_ERROR: 400,
  DB_UNSUPPORTED: 400,
  RESULT_TOO_LARGE: 400,
  DB_INVALID_CREDENTIALS: 424,
  DB_CONNECTION_FAILED: 503,
  DB_UNAVAILABLE: 503,
  DB_TIMEOUT: 504,
}
const statusOf = (code: string) => statuses[code] ?? 500
