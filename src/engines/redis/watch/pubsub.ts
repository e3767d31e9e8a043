import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Lanes } from '../commands.ts'
import { type RedisValue, toArgument } from '../values.ts'
import type { Watched } from './watch.ts'
import { bytesIn, listIn } from '../replies.ts'

/** Messages to whoever listens now. */
export interface Publishing {
  /** Answers how many clients it reached, on the node that took it. */
  publish(channel: RedisValue, message: RedisValue, call: Call): Promise<number>
}

export function createPublishing({ shared }: Lanes): Publishing {
  return {
    async publish(channel, message, call) {
      const [receivers] = await shared.send(call, 'writes', ['publish', toArgument(channel), toArgument(message)])
      return Number(receivers)
    },
  }
}

/** Channels, and patterns of channels as globs. */
export interface Subscriptions {
  readonly channels: readonly (string | Buffer)[]
  readonly patterns: readonly (string | Buffer)[]
}

/** A message as it came; `pattern` where it came by one. */
export interface Message {
  readonly channel: Buffer
  readonly pattern?: Buffer
  readonly message: Buffer
}

/** `null` once all is subscribed on every server, then each message. A channel that several subscriptions match comes by each of them, as Redis has it. */
export async function* subscribe(
  watched: Watched,
  { channels, patterns }: Subscriptions,
  call: Call,
): AsyncGenerator<Message | null, undefined> {
  let missing = (channels.length + patterns.length) * watched.servers.length
  // A channel a command, as a cluster wants it.
  const commands = [
    ...channels.map((channel) => ['subscribe', channel] as const),
    ...patterns.map((pattern) => ['psubscribe', pattern] as const),
  ]
  for await (const { reply } of watched.replies(call, ...commands)) {
    const message = messageOf(reply)
    if (message !== undefined) yield message
    else if (--missing === 0) yield null
  }
}

function messageOf(reply: Reply): Message | undefined {
  const [kind, first, second, third] = listIn(reply)
  switch (bytesIn(kind).toString('latin1')) {
    case 'message':
      return { channel: bytesIn(first), message: bytesIn(second) }
    case 'pmessage':
      return { pattern: bytesIn(first), channel: bytesIn(second), message: bytesIn(third) }
    default:
      return undefined
  }
}
