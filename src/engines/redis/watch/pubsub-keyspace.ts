import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import { replyCode } from '../errors.ts'
import type { Commands } from '../commands.ts'
import { classesFor, publishes } from './keyspace-flags.ts'
import { ofNode } from '../topology/cluster-primaries.ts'
import { subscribe } from './pubsub.ts'
import type { Apart, Watched } from './watch.ts'

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

/** The two kinds of channels a server may publish to; `unknown` where the user may not ask. */
type Published = ReadonlySet<Kind> | 'unknown'
type Kind = 'keyspace' | 'keyevent'

/**
 * `null` once it listens to the server, of a cluster to every primary, then each event. Throws `DB_UNSUPPORTED` where one's
 * `notify-keyspace-events` is off, which is left as it is (https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/).
 */
export async function* keyspaceEvents(
  apart: Apart,
  { pattern, events }: KeyspaceRequest,
  call: Call,
): AsyncGenerator<KeyspaceEvent | null, undefined> {
  const watched = await apart.everywhere(call)
  const kind = await kindFor(watched, { pattern, events }, call)
  const prefix = `__${kind}@${watched.database}__:`
  const byKey = kind === 'keyspace'
  const channels = byKey || events.size === 0 ? [] : [...events].map((name) => prefix + name)
  const patterns =
    channels.length > 0 ? [] : [Buffer.concat([Buffer.from(prefix), Buffer.from(byKey ? (pattern ?? '*') : '*')])]
  let listens = false
  for await (const message of subscribe(watched, { channels, patterns }, call)) {
    if (message === null) {
      listens = true
      yield null
    }
    // One server may be quicker than another; what it tells before all are listened to is none of it.
    if (message === null || !listens) continue
    const rest = message.channel.subarray(prefix.length)
    const [key, event] = byKey ? [rest, message.message] : [message.message, rest]
    const name = event.toString('utf8')
    if (events.size === 0 || events.has(name)) yield { key, event: name }
  }
}

/** The kind that all servers publish to, as far as they may be asked. */
async function kindFor({ servers }: Watched, { pattern, events }: KeyspaceRequest, call: Call): Promise<Kind> {
  const needsKeys = pattern !== undefined
  const published = await Promise.all(servers.map(({ commands, node }) => publishedBy(commands, node, events, call)))
  const wanted: readonly Kind[] = needsKeys ? ['keyspace'] : ['keyevent', 'keyspace']
  const lacks = (kind: Kind) => published.findIndex((one) => one !== 'unknown' && !one.has(kind))
  const kind = wanted.find((one) => lacks(one) === -1)
  if (kind !== undefined) return kind
  const off = published.findIndex((one) => one !== 'unknown' && !wanted.some((each) => one.has(each)))
  throw switchedOff(needsKeys, events, servers[off === -1 ? lacks('keyevent') : off]?.node)
}

async function publishedBy(
  commands: Commands,
  node: string | undefined,
  events: ReadonlySet<string>,
  call: Call,
): Promise<Published> {
  const [outcome] = await commands.each(call, 'reads', ['config', 'get', 'notify-keyspace-events'])
  if (outcome === undefined || 'error' in outcome) {
    const { cause } = (outcome?.error ?? {}) as { readonly cause?: unknown }
    // A service may have no CONFIG at all.
    if (replyCode(cause) !== undefined) return 'unknown'
    throw ofNode(outcome?.error, node)
  }
  const flags = flagsOf(outcome.reply)
  if (!publishes(flags, events)) return new Set()
  return new Set<Kind>([
    ...(flags.includes('K') ? (['keyspace'] as const) : []),
    ...(flags.includes('E') ? (['keyevent'] as const) : []),
  ])
}

function flagsOf(reply: Reply): string {
  const parts = Array.isArray(reply) ? (reply as readonly Reply[]) : []
  return String(parts[1] ?? '')
}

function switchedOff(needsKeys: boolean, events: ReadonlySet<string>, node: string | undefined): ApiError {
  const setting = `${needsKeys ? 'K' : 'E'}${classesFor(events)}`
  const who = node === undefined ? 'The server' : `The node ${node} of the cluster`
  return new ApiError(
    'DB_UNSUPPORTED',
    `${who} does not publish these events. Its operator can switch them on with CONFIG SET notify-keyspace-events ${setting}.`,
    { details: { setting: 'notify-keyspace-events', needed: setting, ...(node === undefined ? {} : { node }) } },
  )
}
