import type { Socket } from 'node:net'
import { type BatchCommand, encode, type Receiver } from './batch.ts'
import { ReplyReader } from './reply-reader.ts'

/** A socket on which commands are sent and answered in order. */
export interface Wire<R extends Receiver> {
  /** Sends in one go; the receiver is told all replies together. */
  send(commands: readonly BatchCommand[], receiver: R): void
  /** Who is not answered yet. */
  waiting(): readonly R[]
}

/** Reads and writes a socket on which nothing is under way, and that nobody else reads replies from. */
export function takeOver<R extends Receiver>(socket: Socket): Wire<R> {
  let waiting: R[] = []
  // Those before it are answered.
  let first = 0
  let broken: unknown
  const reader = new ReplyReader((reply) => {
    const asked = waiting[first]
    // What nobody asked for.
    if (asked === undefined) return
    if (reply instanceof Error) asked.failure ??= reply
    if (asked.replies.push(reply) < asked.count) return
    first += 1
    if (first === waiting.length) {
      waiting = []
      first = 0
    }
    asked.answer()
  })
  socket.on('data', (chunk: Buffer) => {
    try {
      reader.read(chunk)
    } catch (error) {
      socket.destroy(error as Error)
    }
  })
  socket.once('error', (error) => (broken ??= error))
  socket.once('close', () => {
    broken ??= lost()
    const left = waiting.slice(first)
    waiting = []
    first = 0
    for (const receiver of left) end(receiver, broken)
  })
  return {
    send(commands, receiver) {
      if (commands.length === 0) return queueMicrotask(() => receiver.answer())
      if (socket.destroyed) return queueMicrotask(() => end(receiver, broken ?? lost()))
      waiting.push(receiver)
      socket.write(encode(commands))
    },
    waiting: () => waiting.slice(first),
  }
}

function end(receiver: Receiver, failure: unknown): void {
  receiver.replies.length = 0
  receiver.failure = failure
  receiver.answer()
}

function lost(): Error {
  return new Error('The connection was closed')
}
