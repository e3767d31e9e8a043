import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { listenOnLoopback } from './ports.ts'

export { fakeMongod } from './fake-mongod.ts'
export { postgresClosesAfterPassword, postgresClosesAfterStartup, postgresRecordsPassword } from './fake-postgres.ts'
export { redisRecordsAuth } from './fake-redis.ts'

/** What a fake server does with a connection; `index` counts them from 0. */
export type FakeBehaviour = (socket: Socket, index: number) => void

/** A server on loopback that is no database. */
export interface FakeServer extends AsyncDisposable {
  readonly port: number
  /** How many connections were accepted since the start. */
  readonly dials: number
  close(): Promise<void>
}

/** Starts a server that does this with every connection. */
export async function startFakeServer(onConnection: FakeBehaviour): Promise<FakeServer> {
  const sockets = new Set<Socket>()
  let dials = 0
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    onConnection(socket, dials++)
  })
  const port = await listenOnLoopback(server)
  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.destroy()
    await closed
  }
  return {
    port,
    get dials() {
      return dials
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Accepts and closes. */
export const closesAtOnce: FakeBehaviour = (socket) => void socket.destroy()

/** Reads everything and never speaks. */
export const silent: FakeBehaviour = (socket) => void socket.resume()

/** A web server: whatever arrives is a bad request to it. */
export const http: FakeBehaviour = (socket) =>
  void socket.once('data', () => {
    socket.end('HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
  })

/** An SSH server: speaks first, and waits. */
export const sshBanner: FakeBehaviour = (socket) => void socket.resume().write('SSH-2.0-OpenSSH_9.2p1\r\n')
