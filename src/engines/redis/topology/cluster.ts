import { ApiError } from '../../../errors.ts'
import { type Call, callWithin, type Limits, remainingMs, type ServerInfo } from '../../engine.ts'
import type { HostPort } from '../../srv.ts'
import type { Target } from '../../target.ts'
import { type Channel, type Link, openChannel } from '../wire/channel.ts'
import { nodeAway } from './cluster-errors.ts'
import { createNodes, type Nodes } from './cluster-nodes.ts'
import { anyPrimary, openPrimaries } from './cluster-primaries.ts'
import { createRouter } from './cluster-router.ts'
import { readSlotMap, slotOfKey, type SlotMap } from './cluster-slots.ts'
import { type ClusterState, createClusterState } from './cluster-state.ts'
import type { Commands } from '../commands.ts'
import { replyCode } from '../errors.ts'
import type { Topology } from './topology.ts'

/** Connects to the first of the seeds that knows of slots, and learns the cluster from it; its other nodes are dialled when they are needed. */
export async function openCluster(
  target: Target,
  limits: Limits,
  call: Call,
  seeds: readonly HostPort[],
): Promise<Topology> {
  const { seed, channel, map } = await openSeed(target, limits, call, seeds)
  const nodes = createNodes(target, limits, [seed, channel])
  const cluster = createClusterState(seeds, seed, async (place) => {
    using limit = callWithin(limits.connectTimeoutMs)
    return await askMap((await nodes.at(place, limit)).commands, place, limit)
  })
  cluster.adopt(map, seed)
  return {
    shared: linkOf(cluster, nodes),
    isCluster: true,
    anyServer: (calling) => anyPrimary(cluster, nodes, calling),
    async open() {
      const own = createNodes(target, limits)
      return Object.assign(linkOf(cluster, own), {
        servers: (calling: Call) => openPrimaries(cluster, own, calling),
      })
    },
    dedicated(calling, key) {
      const place = key === undefined ? cluster.anyPlace(nodes.open()) : cluster.ownerOf(slotOfKey(key))
      return openChannel(target, limits, calling, place).catch((error: unknown) => {
        void cluster.refresh('wrong')
        throw nodeAway(error)
      })
    },
    describe: (info, calling) => describe(info, cluster, nodes, calling),
  }
}

function linkOf(cluster: ClusterState, nodes: Nodes): Link {
  let closed = false
  return {
    commands: createRouter(cluster, nodes),
    get closed() {
      return closed || cluster.lost
    },
    async close() {
      closed = true
      await nodes.close()
    },
  }
}

interface Answered {
  readonly seed: HostPort
  readonly channel: Channel
  /** `undefined` where the user may not ask for it. */
  readonly map: SlotMap | undefined
}

async function openSeed(target: Target, limits: Limits, call: Call, seeds: readonly HostPort[]): Promise<Answered> {
  let failure: unknown
  let outsider: Answered | undefined
  for (const [index, seed] of seeds.entries()) {
    using share = callWithin(remainingMs(call) / (seeds.length - index), call.signal)
    const dialling: Call = { signal: share.signal, deadline: share.deadline, ...(call.stage && { stage: call.stage }) }
    try {
      const answered = await openNode(target, limits, dialling, seed)
      // One that was taken out of the cluster answers, and knows of no slots.
      if (answered.map === undefined || answered.map.primaries.length > 0) {
        void outsider?.channel.close()
        return answered
      }
      if (outsider) void answered.channel.close()
      outsider ??= answered
    } catch (error) {
      failure = error
    }
  }
  if (outsider) return outsider
  throw failure
}

async function openNode(target: Target, limits: Limits, call: Call, seed: HostPort): Promise<Answered> {
  const channel = await openChannel(target, limits, call, seed)
  try {
    return { seed, channel, map: await askMap(channel.commands, seed, call) }
  } catch (error) {
    void channel.close()
    throw error
  }
}

// Not by CLUSTER SHARDS, which Redis has since 7.
async function askMap(commands: Commands, place: HostPort, call: Call): Promise<SlotMap | undefined> {
  const [outcome] = await commands.each(call, 'reads', ['cluster', 'slots'])
  if (outcome !== undefined && 'reply' in outcome) return readSlotMap(outcome.reply, place)
  if (replyCode(outcome?.error.cause) === 'NOPERM') return undefined
  if (replyCode(outcome?.error.cause) !== 'ERR') throw outcome?.error
  throw new ApiError('DB_CONNECTION_FAILED', 'The server is no Redis Cluster. Check config.topology.', {
    cause: outcome?.error.cause,
    details: { reason: 'protocol', stage: 'database' },
  })
}

/** Asks every primary, so that a connection test tells of nodes that this server can not or may not reach. */
async function describe(info: ServerInfo, cluster: ClusterState, nodes: Nodes, call: Call): Promise<ServerInfo> {
  const places = cluster.places()
  using share = callWithin(remainingMs(call) / 2, call.signal)
  const reached = await Promise.allSettled(places.map((place) => nodes.at(place, share)))
  const failures = reached.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
  const refused = failures.filter((error) => error instanceof ApiError && error.code === 'TARGET_NOT_ALLOWED').length
  const warnings = [...info.warnings]
  if (!cluster.isKnown)
    warnings.push(
      "The user's ACL does not allow CLUSTER SLOTS, so what needs all primaries is refused, as walking the keys.",
    )
  if (refused > 0)
    warnings.push(`The dial policy does not allow ${refused} of the ${places.length} primaries; keys there fail.`)
  if (failures.length > refused)
    warnings.push(
      `${failures.length - refused} of the ${places.length} primaries can not be reached now; keys there fail.`,
    )
  // What one node says of its size is not the cluster's.
  return {
    ...info,
    size_bytes: null,
    engine: { ...info.engine, primaries: cluster.isKnown ? places.length : null },
    warnings,
  }
}
