import type { Socket } from 'node:net'
import type { Command, Redis } from 'ioredis'

/** A reply as RESP2 has it: bulk strings as bytes, integers as `stringNumbers` gives them, `null` for nothing. */
export type Reply = Buffer | string | number | null | readonly Reply[]

/**
 * Sends several commands in one go and tells all their replies, or the first error once all have answered. For the commands of the
 * hottest routes: ioredis' own Command makes a promise, copies and traces for each, which costs more than the command. The name is the
 * command's in lower case, which ioredis looks up; arguments go as they are.
 */
export function sendBatch(client: Redis, commands: readonly BatchCommand[], receiver: Receiver): void {
  const batch = new Batch(commands.length, receiver)
  for (const command of commands) client.sendCommand(new QueuedCommand(command, batch) as unknown as Command)
}

/** Who is told. */
export interface Receiver {
  answer(replies: readonly Reply[]): void
  fail(error: unknown): void
}

export type BatchCommand = readonly [name: string, ...args: (string | Buffer)[]]

class Batch {
  readonly #replies: Reply[] = []
  readonly #count: number
  readonly #receiver: Receiver
  #failure: unknown

  constructor(count: number, receiver: Receiver) {
    this.#count = count
    this.#receiver = receiver
  }

  take(reply: Reply, failure?: unknown): void {
    this.#failure ??= failure
    if (this.#replies.push(reply) < this.#count) return
    if (this.#failure === undefined) this.#receiver.answer(this.#replies)
    else this.#receiver.fail(this.#failure)
  }
}

/** What ioredis 6.0 asks of a command that it queues. */
class QueuedCommand {
  readonly name: string
  readonly args: readonly never[] = []
  readonly isTraced = true
  readonly #command: BatchCommand
  readonly #batch: Batch

  constructor(command: BatchCommand, batch: Batch) {
    this.name = command[0]
    this.#command = command
    this.#batch = batch
  }

  setReplyContext(): void {}

  toWritable(): Buffer | string {
    return encode(this.#command)
  }

  resolve(reply: Reply): void {
    this.#batch.take(reply)
  }

  reject(error: unknown): void {
    this.#batch.take(null, error)
  }
}

/** A command as an array of bulk strings (https://redis.io/docs/latest/develop/reference/protocol-spec/#sending-commands-to-a-redis-server). */
function encode(command: BatchCommand): Buffer | string {
  let text = `*${command.length}\r\n`
  const parts: Buffer[] = []
  for (const arg of command) {
    if (typeof arg === 'string') text += `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`
    else {
      parts.push(Buffer.from(`${text}$${arg.length}\r\n`), arg)
      text = '\r\n'
    }
  }
  return parts.length === 0 ? text : Buffer.concat([...parts, Buffer.from(text)])
}

/** Makes a socket write once for all that is written in one turn of the event loop: many callers share a system call. */
export function writeTogether(socket: Socket): void {
  const write = socket.write.bind(socket)
  let waiting: (Buffer | string)[] = []
  const flush = () => {
    const chunks = waiting
    waiting = []
    if (socket.destroyed) return
    if (chunks.every((chunk) => typeof chunk === 'string')) write(chunks.join(''))
    else write(Buffer.concat(chunks.map((chunk) => (typeof chunk === 'string' ? Buffer.from(chunk) : chunk))))
  }
  socket.write = (chunk: Buffer | string) => {
    if (waiting.push(chunk) === 1) setImmediate(flush)
    return true
  }
}
