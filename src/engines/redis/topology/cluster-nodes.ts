import { ApiError } from '../../../errors.ts'
import { Backoff } from '../../backoff.ts'
import { type Call, callWithin, type Limits, untilAborted } from '../../engine.ts'
import type { HostPort } from '../../srv.ts'
import type { Target } from '../../target.ts'
import { type Channel, openChannel } from '../wire/channel.ts'
import { placeKey } from './places.ts'

/** The connections of one link to the nodes of a cluster, each opened when it is first needed. */
export interface Nodes {
  /** Throws as the dial does, and where that failed a moment ago, at once. */
  at(place: HostPort, call: Call): Promise<Channel>
  /** Where a connection is open, the newest last. */
  open(): readonly HostPort[]
  close(): Promise<void>
}

interface Node {
  readonly place: HostPort
  readonly backoff: Backoff
  channel?: Channel
  dialling?: Promise<Channel>
}

export function createNodes(target: Target, limits: Limits, first?: readonly [HostPort, Channel]): Nodes {
  const nodes = new Map<string, Node>()
  const ended = new AbortController()
  if (first) nodeAt(first[0]).channel = first[1]
  return {
    async at(place, call) {
      const node = nodeAt(place)
      if (node.channel && !node.channel.closed) return node.channel
      // The connection goes on for the others when this caller leaves.
      node.dialling ??= dial(node).finally(() => delete node.dialling)
      return await untilAborted(node.dialling, call.signal)
    },
    open: () => [...nodes.values()].filter(({ channel }) => channel?.closed === false).map(({ place }) => place),
    async close() {
      ended.abort()
      await Promise.allSettled([...nodes.values()].map(({ channel }) => channel?.close()))
    },
  }

  function nodeAt(place: HostPort): Node {
    const key = placeKey(place)
    const present = nodes.get(key)
    if (present) return present
    forgetClosed()
    const made: Node = { place, backoff: new Backoff() }
    nodes.set(key, made)
    return made
  }

  // Places come and go with the cluster's members.
  function forgetClosed(): void {
    if (nodes.size < maxNodes) return
    for (const [key, { channel, dialling }] of nodes) {
      if (dialling === undefined && channel?.closed !== false) nodes.delete(key)
    }
  }

  async function dial(node: Node): Promise<Channel> {
    node.backoff.check()
    using limit = callWithin(limits.connectTimeoutMs, ended.signal)
    try {
      const channel = await openChannel(target, limits, limit, node.place)
      if (ended.signal.aborted) {
        void channel.close()
        throw new ApiError('DB_CONNECTION_FAILED', 'The connection to this database is being closed. Try again.')
      }
      node.backoff.succeeded()
      node.channel = channel
      return channel
    } catch (error) {
      node.backoff.failed(error)
      throw error
    }
  }
}

const maxNodes = 200
