import { createServer } from 'node:net'
import type { Server } from 'node:net'

/** Listens on a loopback port that the system chooses, and returns its number. */
export async function listenOnLoopback(server: Server): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(0, '127.0.0.1', resolve)
  await promise
  server.off('error', reject)
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server listens on no TCP port')
  return address.port
}

/** Two different loopback ports that were free a moment ago; whoever starts on them must be ready to try others. */
export async function freePorts(): Promise<readonly [number, number]> {
  const servers = [createServer(), createServer()] as const
  const ports = [await listenOnLoopback(servers[0]), await listenOnLoopback(servers[1])] as const
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
