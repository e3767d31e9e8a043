import type { Socket } from 'node:net'
import postgres, { type Sql } from 'postgres'
import type { ApiError } from '../../errors.ts'
import type { Wire } from '../dial.ts'
import { failed, timedOut } from '../dial-errors.ts'
import { type Call, callWithin, untilAborted } from '../engine.ts'
import type { Target, TargetDescription } from '../target.ts'
import { translateStart } from './errors.ts'
import { serializers } from './parameters.ts'
import { guardSocket } from './wire-guard.ts'

/** What starting a session needs: the registry's own connection has no dial policy, and so no whole `Target`. */
export type StartTarget = TargetDescription & Pick<Target, 'dial'>

/** Told of notifications on the channels this connection listens to. */
export type Notify = (channel: string, payload: string) => void

/** One backend. `sql` is postgres.js with exactly this connection under it: when it is gone, `sql` refuses and never dials again. */
export interface Connection {
  readonly sql: Sql
  readonly pid: number
  readonly closed: boolean
  /** Ends the connection with a `RESULT_TOO_LARGE` once more than this many further bytes arrive. */
  limitBytes(bytes: number): void
  /** Gives up on running work: asks the server to cancel this backend, then destroys the socket. Nobody need wait for it. */
  abandon(): void
  close(): Promise<void>
}

// Authentication, ErrorResponse, NoticeResponse, NegotiateProtocolVersion.
const wire: Wire = { firstBytes: new Set([0x52, 0x45, 0x4e, 0x76]), requestTls }
const cancelTimeoutMs = 2_000

/**
 * Dials and starts one session. postgres.js redials for ever when a server closes during start-up (porsager/postgres#1193), so it is
 * given one socket of ours and refused a second.
 */
export async function openConnection(target: StartTarget, call: Call, onnotify?: Notify): Promise<Connection> {
  const socket = await target.dial(wire, call)
  call.stage?.('auth')
  const { stream, limitBytes } = guardSocket(socket)
  let dialled = false
  let closed = false
  let failure: unknown
  socket.once('error', (error) => {
    closed = true
    failure = error
  })
  socket.once('close', () => {
    closed = true
  })
  const sql = postgres({
    host: 'checked-by-dial',
    port: target.port,
    database: target.database,
    username: target.user ?? '',
    // A function, because an empty string falls back to PGPASSWORD: our own password for somebody else's server.
    pass: () => target.password ?? '',
    ssl: false,
    max: 1,
    prepare: false,
    fetch_types: false,
    idle_timeout: 0,
    max_lifetime: null,
    connect_timeout: 0,
    connection: { application_name: target.options['application_name'] ?? 'bun-api' },
    onnotice: () => undefined,
    ...(onnotify ? { onnotify } : {}),
    types: serializers,
    socket: async () => {
      // What ended before the driver listens would be waited for until the deadline.
      if (dialled || closed) throw failure ?? closedAtStart()
      dialled = true
      return stream
    },
  } as never) as Sql
  const destroy = () => {
    closed = true
    socket.destroy()
    // Rejects what is queued; nothing is sent, the socket is gone.
    void sql.end({ timeout: 0 })
  }
  try {
    const { state } = await untilAborted(sql`select 1`.simple(), call.signal)
    return {
      sql,
      pid: state.pid,
      get closed() {
        return closed
      },
      limitBytes,
      abandon() {
        if (closed) return
        closed = true
        void cancel(target, state)
          .catch(() => undefined)
          .finally(destroy)
      },
      async close() {
        closed = true
        await sql.end({ timeout: 1 })
        socket.destroy()
      },
    }
  } catch (error) {
    destroy()
    if (call.signal.aborted)
      throw timedOut('The server accepted the connection but did not answer. Check that it is PostgreSQL.', error)
    throw translateStart(error)
  }
}

function closedAtStart(): ApiError {
  return failed('closed', 'The server closed the connection before a session began. Check port and type.')
}

async function requestTls(socket: Socket, call: Call): Promise<boolean> {
  const { promise: answer, resolve, reject } = Promise.withResolvers<Buffer>()
  const closed = () =>
    reject(failed('closed', 'The server closed the connection when asked for TLS. Check that it is PostgreSQL.'))
  socket.on('data', resolve).on('error', closed).on('close', closed)
  const request = Buffer.alloc(8)
  request.writeInt32BE(8, 0)
  request.writeInt32BE(80_877_103, 4)
  socket.write(request)
  try {
    const bytes = await untilAborted(answer, call.signal)
    // More than the one byte would be read as if it had come encrypted (CVE-2021-23222).
    if (bytes.length === 1 && bytes[0] === 0x53) return true
    if (bytes.length === 1 && bytes[0] === 0x4e) return false
    throw failed('protocol', 'The server speaks another protocol on this port. Check port and type.')
  } catch (error) {
    if (call.signal.aborted)
      throw timedOut('The server did not answer the request for TLS. Check that it is PostgreSQL.', error)
    throw error
  } finally {
    socket.off('data', resolve).off('error', closed).off('close', closed)
  }
}

async function cancel(target: StartTarget, state: { pid: number; secret: number }): Promise<void> {
  using call = callWithin(cancelTimeoutMs)
  const socket = await target.dial(wire, call)
  const request = Buffer.alloc(16)
  request.writeInt32BE(16, 0)
  request.writeInt32BE(80_877_102, 4)
  request.writeUInt32BE(state.pid, 8)
  request.writeUInt32BE(state.secret >>> 0, 12)
  const done = new Promise<void>((resolve) => {
    socket.once('close', () => resolve())
    socket.on('error', () => resolve())
  })
  socket.resume()
  socket.end(request)
  await untilAborted(done, call.signal).finally(() => socket.destroy())
}
