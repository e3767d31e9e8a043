import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { listenOnLoopback } from './ports.ts'

/**
 * `pass` forwards; `blackhole` accepts and holds every byte, old connections' too, until `pass` returns;
 * `refuse-after-accept` closes each new connection at once.
 */
export type FaultMode = 'pass' | 'blackhole' | 'refuse-after-accept'

/** A TCP proxy on loopback that breaks what it forwards. */
export interface FaultProxy extends AsyncDisposable {
  readonly port: number
  /** How many connections were accepted since the start. */
  readonly connections: number
  mode: FaultMode
  /** Delays every chunk, both ways, from the next one on. */
  setDelay(ms: number): void
  /** Lets this many more bytes of the target's answers through, all connections together, then ends the connection that carried the last; once. */
  cutAfterBytes(count: number): void
  /** Ends every connection with RST, on both sides. */
  resetAll(): void
  close(): Promise<void>
}

/** Starts a fault proxy in front of a server. */
export async function startFaultProxy(targetHost: string, targetPort: number): Promise<FaultProxy> {
  const sockets = new Set<Socket>()
  let mode: FaultMode = 'pass'
  let delayMs = 0
  let answerBytesLeft = Infinity
  let connections = 0
  let gate = Promise.withResolvers<void>()
  gate.resolve()

  const track = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket.on('error', () => {}).on('close', () => sockets.delete(socket))
  }
  const pump = async (from: Socket, to: Socket, isAnswer: boolean) => {
    for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (delayMs > 0) await Bun.sleep(delayMs)
      await gate.promise
      if (!isAnswer || chunk.length < answerBytesLeft) {
        if (isAnswer) answerBytesLeft -= chunk.length
        await send(to, chunk)
        continue
      }
      const last = chunk.subarray(0, answerBytesLeft)
      answerBytesLeft = Infinity
      await send(to, last)
      to.destroy()
      from.destroy()
      return
    }
    await gate.promise
    to.end()
  }

  const server = createServer({ allowHalfOpen: true }, async (client) => {
    connections += 1
    track(client)
    if (mode === 'refuse-after-accept') return client.destroy()
    await gate.promise
    if (client.destroyed) return
    const upstream = track(connect({ host: targetHost, port: targetPort, allowHalfOpen: true }))
    const reset = (socket: Socket) => () => void socket.resetAndDestroy()
    pump(client, upstream, false).catch(reset(upstream))
    pump(upstream, client, true).catch(reset(client))
  })
  const port = await listenOnLoopback(server)

  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.destroy()
    gate.resolve()
    await closed
  }
  return {
    port,
    get connections() {
      return connections
    },
    get mode() {
      return mode
    },
    set mode(next) {
      gate.resolve()
      if (next === 'blackhole') gate = Promise.withResolvers()
      mode = next
    },
    setDelay: (ms) => void (delayMs = ms),
    cutAfterBytes: (count) => void (answerBytesLeft = count),
    resetAll() {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Settles when the bytes have left, or when the connection has failed: then the other direction sees it too. */
function send(to: Socket, chunk: Buffer): Promise<void> {
  if (chunk.length === 0 || to.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    to.once('close', resolve)
    to.write(chunk, () => {
      to.off('close', resolve)
      resolve()
    })
  })
}
