import type { Socket } from 'node:net'
import { type BatchCommand, encode, type Receiver, type Reply } from './batch.ts'
import { ReplyReader } from './reply-reader.ts'

/** A socket on which commands are sent and answered in order. */
export interface Wire {
  /** Sends in one go; the receiver is told all replies together. */
  send(commands: readonly BatchCommand[], receiver: Receiver): void
}

interface Waiting {
  readonly count: number
  readonly receiver: Receiver
  readonly replies: Reply[]
  failure: unknown
}

/** Reads and writes a socket on which nothing is under way, and that nobody else reads replies from. */
export function takeOver(socket: Socket): Wire {
  let waiting: Waiting[] = []
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
    asked.receiver.answer(asked.replies, asked.failure)
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
    for (const { receiver } of left) receiver.answer([], broken)
  })
  return {
    send(commands, receiver) {
      if (commands.length === 0) return queueMicrotask(() => receiver.answer([], undefined))
      if (socket.destroyed) return queueMicrotask(() => receiver.answer([], broken ?? lost()))
      waiting.push({ count: commands.length, receiver, replies: [], failure: undefined })
      socket.write(encode(commands))
    },
  }
}

function lost(): Error {
  return new Error('The connection was closed')
}
