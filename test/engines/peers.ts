import type { Socket } from 'node:net'
import type { FakeBehaviour } from '#test/support/fake-servers.ts'

/** Counts connections that are open on the server's side. */
export function counted(behaviour: FakeBehaviour): { readonly behaviour: FakeBehaviour; readonly open: () => number } {
  const sockets = new Set<Socket>()
  return {
    behaviour: (socket, index) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      behaviour(socket, index)
    },
    open: () => sockets.size,
  }
}

/** Answers the nth chunk of a connection with the nth reply; after the last, nothing. */
export function replies(...chunks: readonly Uint8Array[]): FakeBehaviour {
  return (socket) => {
    let next = 0
    socket.on('data', () => {
      const chunk = chunks[next++]
      if (chunk !== undefined) socket.write(chunk)
    })
  }
}

/** Pushes what arrives, as latin1, and answers the nth chunk with the nth reply. */
export function recorded(received: string[], ...chunks: readonly Uint8Array[]): FakeBehaviour {
  const answering = replies(...chunks)
  return (socket, index) => {
    socket.on('data', (chunk: Buffer) => received.push(chunk.toString('latin1')))
    answering(socket, index)
  }
}

/** One message of PostgreSQL's protocol. */
export function message(type: string, ...parts: readonly (Uint8Array | string | number)[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) => {
      if (typeof part !== 'number') return Buffer.from(part as string)
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32BE(part)
      return bytes
    }),
  )
  const header = Buffer.alloc(5)
  header.write(type, 'latin1')
  header.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

/** AuthenticationOk, BackendKeyData and ReadyForQuery: a session has begun. */
export const sessionBegins = Buffer.concat([message('R', 0), message('K', 1, 2), message('Z', 'I')])

/** Waits until it holds, and throws when it never does. */
export async function eventually(holds: () => boolean | Promise<boolean>, withinMs = 5_000): Promise<void> {
  const until = performance.now() + withinMs
  while (!(await holds())) {
    if (performance.now() > until) throw new Error('it never came to that')
    await Bun.sleep(20)
  }
}
