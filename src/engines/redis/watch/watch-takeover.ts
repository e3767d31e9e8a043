import { timedOut } from '../../dial-errors.ts'
import type { Call, Limits } from '../../engine.ts'
import { type BatchCommand, encode, type Reply } from '../wire/batch.ts'
import { replyTooLarge, translate } from '../errors.ts'
import { ofNode, primaryLost, type Server, type Servers } from '../topology/cluster-primaries.ts'
import { ReplyReader } from '../wire/reply-reader.ts'
import { BoundedQueue } from './watch-queue.ts'

const bounds = { maxItems: 1_000, maxBytes: 1_048_576 }
// Silence is taken for a dead connection after two of these, in command timeouts.
const pingEvery = 5
const ping = '*1\r\n$4\r\nPING\r\n'
// A cluster's map is asked for when it is older than five seconds.
const checkEveryMs = 1_000

/** A reply, and on a cluster the `host:port` of the primary that gave it. */
export interface ServerReply {
  readonly reply: Reply
  readonly node?: string
}

/** Every reply on these connections from now on, in one queue; all are closed in the end, which is that of the first. See `Watched`. */
export async function* repliesOf(
  { all, check }: Servers,
  limits: Limits,
  call: Call,
  commands: readonly BatchCommand[],
): AsyncGenerator<ServerReply, undefined> {
  const queue = new BoundedQueue<ServerReply>(bounds)
  const close = () => {
    for (const { channel } of all) void channel.close()
  }
  const end = (error: unknown) => {
    queue.fail(error)
    close()
  }
  const push = (item: ServerReply, bytes: number) => {
    if (!queue.push(item, bytes)) close()
  }
  const leave = () => end(call.signal.reason)
  const taken = all.map((server) => takeOver(server, limits, encode(commands), { push, end }))
  const checks = check && setInterval(() => void check().catch(end), checkEveryMs)
  call.signal.addEventListener('abort', leave, { once: true })
  try {
    if (call.signal.aborted) leave()
    for await (const item of queue) {
      if (item.reply instanceof Error) throw ofNode(translate(item.reply), item.node)
      yield item
    }
  } finally {
    clearInterval(checks)
    call.signal.removeEventListener('abort', leave)
    for (const release of taken) release()
  }
}

interface Receiver {
  push(item: ServerReply, bytes: number): void
  end(error: unknown): void
}

/** Hands over all replies of a connection until it is released, which closes it. */
function takeOver(
  { channel: { connection }, node }: Server,
  limits: Limits,
  commands: Buffer | string,
  { push, end }: Receiver,
): () => void {
  const { stream: socket } = connection.client
  const maxReplyBytes = limits.maxResponseBytes + limits.maxValueBytes
  const named = node === undefined ? {} : { node }
  const reader = new ReplyReader((reply, bytes) => {
    if (!isPong(reply)) push({ reply: copyOf(reply), ...named }, bytes)
  })
  let hasHeard = true
  const read = (chunk: Buffer) => {
    hasHeard = true
    try {
      reader.read(chunk)
      if (reader.waiting > maxReplyBytes) throw replyTooLarge()
    } catch (error) {
      end(ofNode(error, node))
    }
  }
  const gone = (error: unknown) => end(node === undefined ? error : primaryLost(error, node))
  const lose = () => gone(translate(connection.failure))
  // Whoever reads replies to commands would take these for some.
  socket.removeAllListeners('data').on('data', read).once('close', lose)
  socket.write(commands)
  // A server that is gone without a word is never heard of again.
  const watchdog = setInterval(() => {
    if (!hasHeard) return gone(timedOut('Redis did not answer in time.'))
    hasHeard = false
    socket.write(ping)
  }, limits.commandTimeoutMs * pingEvery)
  if (connection.closed) lose()
  return () => {
    clearInterval(watchdog)
    socket.off('close', lose)
    void connection.close()
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
