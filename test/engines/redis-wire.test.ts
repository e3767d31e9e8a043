import { describe, expect, test } from 'bun:test'
import { createServer, connect, type Socket } from 'node:net'
import fc from 'fast-check'
import type { Receiver, Reply } from '#src/engines/redis/wire/batch.ts'
import { ReplyReader } from '#src/engines/redis/wire/reply-reader.ts'
import { takeOver } from '#src/engines/redis/wire/wire.ts'

type Plain = string | null | { readonly int: string } | { readonly error: string } | readonly Plain[]

/** A reply as RESP2 writes it. */
function written(reply: Plain): Buffer {
  if (reply === null) return Buffer.from('$-1\r\n')
  if (typeof reply === 'string') {
    const bytes = Buffer.from(reply, 'latin1')
    return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')])
  }
  if ('int' in reply) return Buffer.from(`:${reply.int}\r\n`)
  if ('error' in reply) return Buffer.from(`-${reply.error}\r\n`)
  return Buffer.concat([Buffer.from(`*${reply.length}\r\n`), ...reply.map(written)])
}

function plain(reply: Reply): Plain {
  if (reply === null) return null
  if (reply instanceof Buffer) return reply.toString('latin1')
  if (typeof reply === 'string') return { int: reply }
  if (reply instanceof Error) return { error: reply.message }
  return (reply as readonly Reply[]).map(plain)
}

const bytes = fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value).toString('latin1'))
const replies = fc.array(
  fc.letrec<{ reply: Plain }>((tie) => ({
    reply: fc.oneof(
      { maxDepth: 3 },
      bytes,
      fc.constant(null),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => ({ int: String(value) })),
      fc.stringMatching(/^[A-Z]{1,8} [ -~]{0,20}$/).map((error) => ({ error })),
      fc.array(tie('reply'), { maxLength: 5 }),
    ),
  })).reply,
  { minLength: 1, maxLength: 20 },
)

describe('the reader of replies', () => {
  test('gives every reply as it was written, wherever the chunks are cut', () =>
    fc.assert(
      fc.property(replies, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }), (sent, cuts) => {
        const found: Plain[] = []
        let taken = 0
        const reader = new ReplyReader((reply, length) => {
          found.push(plain(reply))
          taken += length
        })
        const wire = Buffer.concat(sent.map(written))
        for (let at = 0, cut = 0; at < wire.length; cut++) {
          const end = at + (cuts[cut % cuts.length] ?? 1)
          reader.read(Buffer.from(wire.subarray(at, end)))
          at = end
        }
        expect([found, taken, reader.waiting]).toEqual([sent, wire.length, 0])
      }),
      { numRuns: 500 },
    ))

  test('says how much a reply that is not whole needs, and joins it once', () => {
    const found: Plain[] = []
    const reader = new ReplyReader((reply) => found.push(plain(reply)))
    reader.read(Buffer.from('$1000000\r\n'))
    expect(reader.waiting).toBe('$1000000\r\n'.length + 1_000_000 + 2)
    for (let sent = 0; sent < 1_000_000; sent += 10_000) reader.read(Buffer.alloc(10_000, 'x'))
    expect(found).toEqual([])
    reader.read(Buffer.from('\r\n:7\r\n'))
    expect(found).toEqual(['x'.repeat(1_000_000), { int: '7' }])
  })

  for (const garbage of ['HTTP/1.1 200 OK\r\n', '$x\r\n', '$\r\n', '*-2\r\n', '$99999999999999\r\n', '%1\r\n'])
    test(`refuses ${JSON.stringify(garbage)}`, () => {
      const reader = new ReplyReader(() => undefined)
      expect(() => reader.read(Buffer.from(garbage))).toThrow('no Redis')
    })
})

describe('a wire', () => {
  async function withPeer(talk: (peer: Socket) => void, work: (socket: Socket) => Promise<void>): Promise<void> {
    const server = createServer(talk)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const socket = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1')
    socket.on('error', () => undefined)
    try {
      await new Promise((resolve) => socket.once('connect', resolve))
      await work(socket)
    } finally {
      socket.destroy()
      server.close()
    }
  }
  const asking = (wire: ReturnType<typeof takeOver>, count: number) =>
    new Promise<readonly [number, unknown]>((resolve) => {
      const replies: Reply[] = []
      const answer = () => resolve([replies.length, receiver.failure])
      const receiver: Receiver = { count, replies, failure: undefined, answer }
      wire.send(
        Array.from({ length: count }, () => ['ping'] as const),
        receiver,
      )
    })

  test('answers nothing to nothing, and what waits and comes later with what ended it', () =>
    withPeer(
      (peer) => peer.once('data', () => peer.write('+PONG\r\n', () => peer.destroy())),
      async (socket) => {
        const wire = takeOver(socket)
        expect(await asking(wire, 0)).toEqual([0, undefined])
        const [one, two] = await Promise.all([asking(wire, 1), asking(wire, 2)])
        expect(one).toEqual([1, undefined])
        expect([two[0], two[1] instanceof Error]).toEqual([0, true])
        const [none, failure] = await asking(wire, 1)
        expect([none, failure instanceof Error]).toEqual([0, true])
      },
    ))

  test('ends a connection that says what is no reply', () =>
    withPeer(
      (peer) => peer.once('data', () => peer.write('nonsense\r\n')),
      async (socket) => {
        const [, failure] = await asking(takeOver(socket), 1)
        expect(String((failure as Error).message)).toContain('no Redis')
      },
    ))
})
