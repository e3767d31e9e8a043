import type { Socket } from 'node:net'

/** A reply as RESP2 has it: bulk and status strings as bytes, integers as decimal text, `null` for nothing. */
export type Reply = Buffer | string | null | Error | readonly Reply[]

/** A command's name, in lower case by custom, and its arguments. */
export type BatchCommand = readonly [name: string, ...args: (string | Buffer)[]]

/** Who waits for the replies of one send. */
export interface Receiver {
  /** How many replies there will be; each is put into `replies`, an error too. */
  readonly count: number
  readonly replies: Reply[]
  /** The first error among them. */
  failure: unknown
  /** All replies are there, or the connection has ended by `failure`. */
  answer(): void
}

/** Commands as arrays of bulk strings (https://redis.io/docs/latest/develop/reference/protocol-spec/#sending-commands-to-a-redis-server). */
export function encode(commands: readonly BatchCommand[]): Buffer | string {
  let text = ''
  let parts: Buffer[] | undefined
  for (const command of commands) {
    text += `*${command.length}\r\n`
    for (const arg of command) {
      if (typeof arg === 'string') text += `$${lengthOf(arg)}\r\n${arg}\r\n`
      else {
        parts ??= []
        parts.push(Buffer.from(`${text}$${arg.length}\r\n`), arg)
        text = '\r\n'
      }
    }
  }
  return parts === undefined ? text : Buffer.concat([...parts, Buffer.from(text)])
}

const short = 64

// For a short text the call costs more than to look.
function lengthOf(text: string): number {
  if (text.length > short) return Buffer.byteLength(text)
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return Buffer.byteLength(text)
  return text.length
}

// So many that the server has something to do while the rest of the turn goes on.
const atOnce = 64

/** Makes a socket write once for all that is written in one turn of the event loop: many callers share a system call. */
export function writeTogether(socket: Socket): void {
  const write = socket.write.bind(socket)
  let waiting: (Buffer | string)[] = []
  const flush = () => {
    if (waiting.length === 0) return
    const chunks = waiting
    waiting = []
    if (socket.destroyed) return
    if (chunks.every((chunk) => typeof chunk === 'string')) write(chunks.join(''))
    else write(Buffer.concat(chunks.map((chunk) => (typeof chunk === 'string' ? Buffer.from(chunk) : chunk))))
  }
  socket.write = (chunk: Buffer | string) => {
    const count = waiting.push(chunk)
    if (count === 1) setImmediate(flush)
    else if (count === atOnce) flush()
    return true
  }
}
