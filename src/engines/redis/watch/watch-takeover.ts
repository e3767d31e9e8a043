import { timedOut } from '../../dial-errors.ts'
import type { Call, Limits } from '../../engine.ts'
import { type BatchCommand, encode, type Reply } from '../wire/batch.ts'
import type { Channel } from '../wire/channel.ts'
import { replyTooLarge, translate } from '../errors.ts'
import { ReplyReader } from '../wire/reply-reader.ts'
import { BoundedQueue } from './watch-queue.ts'

const bounds = { maxItems: 1_000, maxBytes: 1_048_576 }
// Silence is taken for a dead connection after two of these, in command timeouts.
const pingEvery = 5
const ping = '*1\r\n$4\r\nPING\r\n'

/** Every reply on a connection from now on, which is closed in the end; see `Watcher`. */
export async function* repliesOf(
  { connection }: Channel,
  limits: Limits,
  call: Call,
  commands: readonly BatchCommand[],
): AsyncGenerator<Reply, undefined> {
  const { stream: socket } = connection.client
  const queue = new BoundedQueue<Reply>(bounds)
  const maxReplyBytes = limits.maxResponseBytes + limits.maxValueBytes
  const reader = new ReplyReader((reply, bytes) => {
    if (!isPong(reply) && !queue.push(copyOf(reply), bytes)) void connection.close()
  })
  let hasHeard = true
  const end = (error: unknown) => {
    queue.fail(error)
    void connection.close()
  }
  const read = (chunk: Buffer) => {
    hasHeard = true
    try {
      reader.read(chunk)
      if (reader.waiting > maxReplyBytes) throw replyTooLarge()
    } catch (error) {
      end(error)
    }
  }
  const leave = () => end(call.signal.reason)
  const lose = () => end(translate(connection.failure))
  // Whoever reads replies to commands would take these for some.
  socket.removeAllListeners('data').on('data', read).once('close', lose)
  socket.write(encode(commands))
  // A server that is gone without a word is never heard of again.
  const watchdog = setInterval(() => {
    if (!hasHeard) return end(timedOut('Redis did not answer in time.'))
    hasHeard = false
    socket.write(ping)
  }, limits.commandTimeoutMs * pingEvery)
  call.signal.addEventListener('abort', leave, { once: true })
  try {
    if (call.signal.aborted) leave()
    else if (connection.closed) lose()
    for await (const reply of queue) {
      if (reply instanceof Error) throw translate(reply)
      yield reply
    }
  } finally {
    clearInterval(watchdog)
    call.signal.removeEventListener('abort', leave)
    socket.off('close', lose)
    await connection.close()
    // A server that hangs would never take its leave.
    socket.destroy()
  }
}

function isPong(reply: Reply): boolean {
  const first = Array.isArray(reply) ? (reply as readonly Reply[])[0] : reply
  return first instanceof Buffer && first.length === 4 && first.toString('latin1').toLowerCase() === 'pong'
}

/** Of the chunk they came in, which may be much larger than what is kept of it. */
function copyOf(reply: Reply): Reply {
  if (reply instanceof Buffer) return Buffer.from(reply)
  return Array.isArray(reply) ? (reply as readonly Reply[]).map(copyOf) : reply
}
