import type { Socket } from 'node:net'
import { AbstractConnector, Redis } from 'ioredis'
import { ApiError } from '../../../errors.ts'
import type { Wire as Protocol } from '../../dial.ts'
import { timedOut } from '../../dial-errors.ts'
import { type Call, untilAborted } from '../../engine.ts'
import type { HostPort } from '../../srv.ts'
import type { Target } from '../../target.ts'
import { type Receiver, writeTogether } from './batch.ts'
import { takeOver, type Wire } from './wire.ts'
import { replyTooLarge, translateAuth, translateSelect, translateStart } from '../errors.ts'

/** One authenticated connection in its database. ioredis never redials: when it is lost, `closed` says so. */
export interface Connection {
  readonly client: Redis
  readonly closed: boolean
  /** When bytes last arrived, in `performance.now()` milliseconds. */
  readonly lastHeard: number
  /** Why the connection ended, where that is known. */
  readonly failure: unknown
  /** A command was answered; a single reply may take so many bytes at the most. */
  answered(): void
  /** Takes the socket over from ioredis, whose client can send nothing more. */
  takeOver<R extends Receiver>(): Wire<R>
  close(): Promise<void>
}

// RESP2 replies: + - : $ *
const protocol: Protocol = { firstBytes: new Set([0x2b, 0x2d, 0x3a, 0x24, 0x2a]) }

/**
 * Dials by the target's own policy, to its first host or the one given, then AUTH and SELECT as commands of ours, so that each failure has
 * its own stage.
 */
export async function openConnection(
  target: Target,
  maxReplyBytes: number,
  call: Call,
  to?: HostPort,
): Promise<Connection> {
  const socket = await target.dial(protocol, call, to)
  call.stage?.('auth')
  let lastHeard = performance.now()
  let failure: unknown
  let unanswered = 0
  let closing = false
  const hear = (chunk: Buffer) => {
    lastHeard = performance.now()
    unanswered += chunk.length
    // The parser keeps a reply until it is whole, however long the server says it is.
    if (unanswered > maxReplyBytes && !socket.destroyed) socket.destroy(replyTooLarge())
  }
  socket.on('data', hear)
  socket.on('error', (error) => {
    failure ??= error
  })
  writeTogether(socket)
  const client = new Redis({
    Connector: connectorOf(socket),
    lazyConnect: true,
    retryStrategy: () => null,
    protocol: 2,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    enableAutoPipelining: true,
    disableClientInfo: true,
    stringNumbers: true,
  } as never)
  // Without a listener ioredis prints the error, which may quote the server.
  client.on('error', () => undefined)
  const explain = (error: unknown) => (failure instanceof ApiError ? failure : error)
  try {
    await untilAborted(start(client, target, call), call.signal)
  } catch (error) {
    client.disconnect()
    socket.destroy()
    if (call.signal.aborted)
      throw timedOut('The server accepted the connection but did not answer. Check that it is Redis.', error)
    throw translateStart(explain(error))
  }
  return {
    client,
    get closed() {
      return closing || client.status !== 'ready'
    },
    get lastHeard() {
      return lastHeard
    },
    get failure() {
      return failure
    },
    answered() {
      unanswered = 0
    },
    takeOver() {
      socket.removeAllListeners('data').on('data', hear)
      return takeOver(socket)
    },
    async close() {
      if (!closing) client.disconnect()
      closing = true
    },
  }
}

async function start(client: Redis, target: Target, call: Call): Promise<void> {
  await client.connect()
  const credentials: [string] | [string, string] | undefined =
    target.password === null ? undefined : target.user === null ? [target.password] : [target.user, target.password]
  await (credentials ? client.auth(...(credentials as [string, string])) : client.ping()).catch((error: unknown) => {
    throw translateAuth(error)
  })
  call.stage?.('database')
  if (target.database !== '0') {
    await client.select(Number(target.database)).catch((error: unknown) => {
      throw translateSelect(error)
    })
  }
}

// ioredis connects through a Connector; this one hands over the socket that was dialled and checked.
function connectorOf(socket: Socket): unknown {
  return class extends AbstractConnector {
    constructor() {
      super(500)
    }

    async connect(): Promise<Socket> {
      this.connecting = true
      this.stream = socket
      return socket
    }
  }
}
