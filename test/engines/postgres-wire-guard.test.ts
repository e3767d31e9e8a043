import { describe, expect, test } from 'bun:test'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { guardSocket } from '#src/engines/postgres/wire-guard.ts'
import type { ApiError } from '#src/errors.ts'
import { message, sessionBegins } from './peers.ts'

const column = (name: string) => Buffer.concat([Buffer.from(`${name}\0`), Buffer.alloc(18)])
const description = (...names: readonly string[]) => message('T', Buffer.from([0, names.length]), ...names.map(column))
const session = Buffer.concat([
  message('R', 10, 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0'),
  message('R', 11, 'r=abcdef+/,s=c2FsdA==,i=4096'),
  message('R', 12, 'v=c2lnbmF0dXJl'),
  message('R', 5, 'salt'),
  message('R', 3),
  sessionBegins,
  message('S', 'server_version\x0018\0'),
  message('1'),
  message('2'),
  message('t', Buffer.from([0, 0])),
  description('one', 'zwei drei', ''),
  description(),
  message('n'),
  message('D', Buffer.from([0, 1]), 4, 'data'),
  message('s'),
  message('C', 'SELECT 1\0'),
  message('3'),
  message('N', 'SNOTICE\0\0'),
  message('A', 1, 'channel\0payload\0'),
  message('E', 'SERROR\0C42601\0\0'),
  message('I'),
  message('Z', 'I'),
])

/** Sends the chunks through a guard; answers what came out and why it ended. */
async function pass(chunks: readonly Uint8Array[], limit?: number) {
  const source = new PassThrough()
  const { stream, limitBytes } = guardSocket(source as unknown as Socket)
  const out: Buffer[] = []
  let failure: ApiError | undefined
  source.on('error', (error) => (failure = error as unknown as ApiError))
  stream.on('data', (chunk: Buffer) => out.push(chunk))
  if (limit !== undefined) limitBytes(limit)
  const closed = new Promise((resolve) => source.on('close', resolve))
  for (const chunk of chunks) if (!source.destroyed) source.write(chunk)
  source.end()
  await closed
  return { bytes: Buffer.concat(out), failure }
}

function split(bytes: Buffer, sizes: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const size = sizes[n % sizes.length] ?? bytes.length
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}

describe('the guard before the driver', () => {
  test('lets a session pass unchanged, however it is cut into chunks', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), async (sizes) => {
        const { bytes, failure } = await pass(split(session, sizes))
        expect(failure).toBeUndefined()
        expect(bytes.equals(session)).toBe(true)
      }),
      { numRuns: 100 },
    )
  })

  const refused: Readonly<Record<string, readonly [Buffer, string]>> = {
    'a row description that counts more columns than it has': [
      message('T', Buffer.from([0, 3]), column('a'), column('b')),
      'DB_CONNECTION_FAILED',
    ],
    'a row description whose last name does not end': [
      message('T', Buffer.from([0, 1]), 'abc'),
      'DB_CONNECTION_FAILED',
    ],
    'a row description without a count': [message('T', 'a'), 'DB_CONNECTION_FAILED'],
    'more SCRAM rounds than a server has': [message('R', 11, 'r=a,s=AAAA,i=100001'), 'DB_CONNECTION_FAILED'],
    'no SCRAM rounds': [message('R', 11, 'r=a,s=AAAA,i=0'), 'DB_CONNECTION_FAILED'],
    'SASL without SCRAM-SHA-256': [message('R', 10, 'OAUTHBEARER\0\0'), 'DB_UNSUPPORTED'],
    GSSAPI: [message('R', 7), 'DB_UNSUPPORTED'],
    'COPY out': [message('H', Buffer.alloc(3)), 'DB_CONNECTION_FAILED'],
    'a message shorter than its own length': [Buffer.from([0x5a, 0, 0, 0, 3]), 'DB_CONNECTION_FAILED'],
  }
  for (const [name, [bad, code]] of Object.entries(refused)) {
    test(`ends the connection for ${name}, however it is cut`, async () => {
      for (const size of [1, 3, 7, bad.length]) {
        const { bytes, failure } = await pass([...split(session, [4096]), ...split(bad, [size])])
        expect(failure?.code).toBe(code as never)
        expect(bytes.length).toBeLessThan(session.length + bad.length)
      }
    })
  }

  test('ends the connection beyond the bytes it may take', async () => {
    expect((await pass([session], session.length)).failure).toBeUndefined()
    expect((await pass([session], session.length - 1)).failure?.code).toBe('RESULT_TOO_LARGE')
    expect((await pass([message('N', 'x'.repeat(300_000))])).failure?.code).toBe('RESULT_TOO_LARGE')
  })
})
