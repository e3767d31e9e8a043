import type { Socket } from 'node:net'
import type { Wire } from '#src/engines/dial.ts'
import { timedOut } from '#src/engines/dial-errors.ts'
import { type Call, callWithin, type Limits, remainingMs, type Session, untilAborted } from '#src/engines/engine.ts'
import type { Target } from '#src/engines/target.ts'
import { refusalOf, refusedCredentials, replyTooLarge, translate } from './errors.ts'
import { infoOf, parseStats, valueOf } from './values.ts'

/** One connection on which commands take turns. */
export interface MemcachedSession extends Session {
  /** The value of a key of printable ASCII; `undefined` when it is not there. */
  get(key: string, call: Call): Promise<string | undefined>
}

// VERSION, STORED, STAT, SERVER_ERROR, CLIENT_ERROR, ERROR, END
const wire: Wire = { firstBytes: new Set(Buffer.from('VSCE')) }
const oneLine = /\r\n$/
const untilEnd = /(^|\r\n)(END|ERROR|(CLIENT|SERVER)_ERROR [^\r]*)\r\n$/

export async function openSession(target: Target, limits: Limits, call: Call): Promise<MemcachedSession> {
  const socket = await target.dial(wire, call)
  call.stage?.('auth')
  const ask = converse(socket, limits.maxResponseBytes + limits.maxValueBytes)
  try {
    await untilAborted(authenticate(ask, target), call.signal)
  } catch (error) {
    socket.destroy()
    if (call.signal.aborted) throw timedOut('The server accepted the connection but did not answer.', error)
    throw translate(error)
  }

  /** Bounds a command. Without its answer the next one would be given it, so the connection ends with it. */
  const run = async (running: Call, command: string, whole: RegExp): Promise<string> => {
    using bounded = callWithin(Math.min(limits.commandTimeoutMs, remainingMs(running)), running.signal)
    const reply = await untilAborted(ask(command, whole), bounded.signal).catch((error: unknown) => {
      socket.destroy()
      throw bounded.signal.aborted ? timedOut('memcached did not answer in time.', error) : translate(error)
    })
    const refusal = refusalOf(reply)
    if (refusal) throw refusal
    return reply
  }
  const close = async () => void socket.destroy()
  return {
    get closed() {
      return socket.destroyed
    },
    ping: async (pinging) => void (await run(pinging, 'version', oneLine)),
    info: async (asking) => infoOf(parseStats(await run(asking, 'stats', untilEnd))),
    get: async (key, getting) => valueOf(await run(getting, `get ${key}`, untilEnd)),
    close,
    [Symbol.asyncDispose]: close,
  }
}

type Ask = (command: string, whole: RegExp) => Promise<string>

/** A server without users would keep what is sent to log in as a value for everybody, so it is asked first whether it wants that. */
async function authenticate(ask: Ask, { user, password }: Target): Promise<void> {
  const greeting = await ask('version', oneLine)
  const open = greeting.startsWith('VERSION ')
  if (open && password === null) return
  const refusal = refusalOf(greeting)
  if (refusal && refusal.code !== 'DB_QUERY_ERROR') throw refusal
  if (open || password === null) throw refusedCredentials()
  const login = `${user ?? ''} ${password}`
  const answer = await ask(`set login 0 0 ${Buffer.byteLength(login)}\r\n${login}`, oneLine)
  if (!answer.startsWith('STORED')) throw refusedCredentials()
}

/** Commands one after the other, each with its reply as latin1; all that wait fail when the connection ends. */
function converse(socket: Socket, maxReplyBytes: number): Ask {
  let reply = ''
  let failure: unknown
  let ended = false
  let check = () => {}
  let last: Promise<unknown> = Promise.resolve()
  socket.on('error', (error) => (failure ??= error))
  socket.on('close', () => {
    ended = true
    check()
  })
  socket.on('data', (chunk: Buffer) => {
    reply += chunk.toString('latin1')
    if (reply.length > maxReplyBytes) socket.destroy(replyTooLarge())
    else if (!socket.destroyed) check()
  })
  return (command, whole) => {
    const turn = last.then(
      () =>
        new Promise<string>((resolve, reject) => {
          reply = ''
          check = () => {
            if (ended) reject(failure)
            else if (whole.test(reply)) resolve(reply)
          }
          socket.write(`${command}\r\n`)
          check()
        }),
    )
    last = turn.catch(() => undefined)
    return turn
  }
}
