import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import { replyCode } from '../errors.ts'
import { subscribe } from './pubsub.ts'
import type { Watcher } from './watch.ts'

export interface KeyspaceRequest {
  /** A glob of keys; all where absent. */
  readonly pattern?: string | Buffer | undefined
  /** Names such as `set` and `expired`; all where empty. */
  readonly events: ReadonlySet<string>
}

/** What happened to a key of the watcher's database. */
export interface KeyspaceEvent {
  readonly key: Buffer
  readonly event: string
}

/** Which of its two kinds of channels the server publishes to; `unknown` where the user may not ask. */
type Published = 'keyspace' | 'keyevent' | 'unknown'

const kinds = /[g$lshzxetdmnA]/

/**
 * `null` once it listens, then each event. Throws `DB_UNSUPPORTED` where the server's `notify-keyspace-events` is off, which is left as it
 * is (https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/).
 */
export async function* keyspaceEvents(
  watcher: Watcher,
  { pattern, events }: KeyspaceRequest,
  call: Call,
): AsyncGenerator<KeyspaceEvent | null, undefined> {
  await refuseCluster(watcher, call)
  const published = await publishedBy(watcher, pattern !== undefined, call)
  const byKey = published === 'keyspace' || (published === 'unknown' && pattern !== undefined)
  const prefix = `__${byKey ? 'keyspace' : 'keyevent'}@${watcher.database}__:`
  const channels = byKey || events.size === 0 ? [] : [...events].map((name) => prefix + name)
  const patterns =
    channels.length > 0 ? [] : [Buffer.concat([Buffer.from(prefix), Buffer.from(byKey ? (pattern ?? '*') : '*')])]
  for await (const message of subscribe(watcher, { channels, patterns }, call)) {
    if (message === null) {
      yield null
      continue
    }
    const rest = message.channel.subarray(prefix.length)
    const [key, event] = byKey ? [rest, message.message] : [message.message, rest]
    const name = event.toString('utf8')
    if (events.size === 0 || events.has(name)) yield { key, event: name }
  }
}

// Each node publishes those of its own keys to its own subscribers.
async function refuseCluster({ commands }: Watcher, call: Call): Promise<void> {
  const [info] = await commands.each(call, 'reads', ['cluster', 'info'])
  if (info !== undefined && 'reply' in info && info.reply instanceof Buffer && info.reply.includes('cluster_state:'))
    throw new ApiError(
      'DB_UNSUPPORTED',
      'A Redis Cluster publishes these events by node; register a node to follow its own.',
    )
}

async function publishedBy({ commands }: Watcher, needsKeys: boolean, call: Call): Promise<Published> {
  const [outcome] = await commands.each(call, 'reads', ['config', 'get', 'notify-keyspace-events'])
  if (outcome === undefined || 'error' in outcome) {
    const { cause } = (outcome?.error ?? {}) as { readonly cause?: unknown }
    // A service may have no CONFIG at all.
    if (replyCode(cause) !== undefined) return 'unknown'
    throw outcome?.error
  }
  const flags = flagsOf(outcome.reply)
  if (!kinds.test(flags)) throw switchedOff(needsKeys)
  if (!needsKeys && flags.includes('E')) return 'keyevent'
  if (flags.includes('K')) return 'keyspace'
  throw switchedOff(needsKeys)
}

function flagsOf(reply: Reply): string {
  const parts = Array.isArray(reply) ? (reply as readonly Reply[]) : []
  return String(parts[1] ?? '')
}

function switchedOff(needsKeys: boolean): ApiError {
  const setting = needsKeys ? 'KA' : 'EA'
  return new ApiError(
    'DB_UNSUPPORTED',
    `The server does not publish these events. Its operator can switch them on with CONFIG SET notify-keyspace-events ${setting}.`,
    { details: { setting: 'notify-keyspace-events', needed: setting } },
  )
}
