import type { Call, Limits, ServerInfo } from '../../engine.ts'
import type { HostPort } from '../../srv.ts'
import type { Target } from '../../target.ts'
import type { ServerCommands } from '../commands.ts'
import { type Channel, type Link, openChannel } from '../wire/channel.ts'
import { openCluster } from './cluster.ts'
import type { Servers } from './cluster-primaries.ts'
import { readNode } from '../options.ts'
import { openPrimary } from './sentinel.ts'

/** Connections for one borrower alone. */
export interface OwnLink extends Link {
  /** Each of them apart: the one, or one to each primary of a cluster, which are closed with the link. */
  servers(call: Call): Promise<Servers>
}

/** The servers behind one registered database: one, the primary that sentinels name, or the primaries of a cluster. */
export interface Topology {
  /** What all callers share; when it is closed, so is the session. */
  readonly shared: Link
  /** Whether there is no other logical database than 0. */
  readonly isCluster: boolean
  /** A server that can be reached, over what all callers share; of a cluster any primary. */
  anyServer(call: Call): Promise<ServerCommands>
  open(call: Call): Promise<OwnLink>
  /** One connection that is nobody else's, for what turns it into something else, as SUBSCRIBE does; on a cluster, to the node of a key. */
  dedicated(call: Call, key?: string | Buffer): Promise<Channel>
  /** Adds what only the topology knows to what a server says of itself. */
  describe(info: ServerInfo, call: Call): Promise<ServerInfo>
}

/** Connects as `config.topology` says. */
export async function openTopology(target: Target, limits: Limits, call: Call): Promise<Topology> {
  switch (target.config['topology']) {
    case 'cluster':
      return await openCluster(target, limits, call, seedsOf(target))
    case 'sentinel':
      return await open((calling) => openPrimary(target, limits, calling, seedsOf(target)), call)
    default:
      return await open((calling) => openChannel(target, limits, calling), call)
  }
}

async function open(connect: (call: Call) => Promise<Channel>, call: Call): Promise<Topology> {
  const shared = await connect(call)
  return {
    shared,
    isCluster: false,
    anyServer: async () => ({ commands: shared.commands }),
    async open(calling) {
      const channel = await connect(calling)
      return Object.assign(channel, { servers: async () => ({ all: [{ channel }], missing: [] }) })
    },
    dedicated: connect,
    describe: async (info) => info,
  }
}

// The connection string's host comes first.
function seedsOf({ host, port, config }: Target): readonly HostPort[] {
  const nodes = (config['nodes'] ?? []) as readonly string[]
  return [{ host, port }, ...nodes.flatMap((text) => readNode(text) ?? [])]
}
