import { ApiError, withOptions } from '../../../errors.ts'
import { type Call, untilAborted } from '../../engine.ts'
import type { HostPort } from '../../srv.ts'
import type { ServerCommands } from '../commands.ts'
import type { Channel } from '../wire/channel.ts'
import { nodeAway } from './cluster-errors.ts'
import type { Nodes } from './cluster-nodes.ts'
import type { ClusterState } from './cluster-state.ts'
import { placeKey } from './places.ts'

/** A connection to one of the servers behind a database; `node` as in `ServerCommands`. */
export interface Server {
  readonly node?: string
  readonly channel: Channel
}

/** A primary of a cluster, as `host:port`, and why it can not be reached. */
export interface Missing {
  readonly node: string
  readonly error: ApiError
}

/** A connection to each server behind a database. */
export interface Servers {
  readonly all: readonly Server[]
  /** Primaries that can not be reached now; `all` has the others. */
  readonly missing: readonly Missing[]
  /** Rejects once these are no longer all of a cluster's primaries, or nobody can say so; to be asked again and again. Absent elsewhere. */
  readonly check?: () => Promise<void>
}

/**
 * Connects to every primary by a map that is a few seconds old at the most. Throws `DB_UNSUPPORTED` where the user may not ask for it, and
 * when none can be reached, as of the first.
 */
export async function openPrimaries(cluster: ClusterState, nodes: Nodes, call: Call): Promise<Servers> {
  await untilAborted(cluster.refresh('old'), call.signal)
  const opened = placesOf(cluster)
  if (opened.size === 0) throw new ApiError('DB_UNAVAILABLE', 'No node of the cluster serves a slot now. Try again.')
  const reach = async (place: HostPort): Promise<(Server & { node: string }) | Missing> => {
    const node = nodeName(place)
    try {
      const channel = await nodes.at(place, call)
      // One that was kept may lead to a server that answers no more.
      await channel.commands.each(call, 'reads', ['ping'])
      return { node, channel }
    } catch (error) {
      // What is not ours is the reason for which the caller went.
      if (!(error instanceof ApiError)) throw error
      return { node, error: primaryAway(node, error) }
    }
  }
  const reached = await Promise.all([...opened.values()].map(reach))
  const all = reached.filter((one) => 'channel' in one)
  const missing = reached.filter((one) => 'error' in one)
  if (missing.length > 0) void cluster.refresh('wrong')
  if (all.length === 0) refuseMissing(missing)
  return {
    all,
    missing,
    async check() {
      await cluster.refresh('old')
      if (cluster.lost) throw new ApiError('DB_UNAVAILABLE', 'No node of the cluster answers. Connect again.')
      const now = placesOf(cluster)
      if (now.size !== opened.size || now.keys().some((key) => !opened.has(key))) throw otherPrimaries()
    },
  }
}

/** The first primary that can be reached, those with a connection before others. Throws as a command without a key does where there is none. */
export async function anyPrimary(cluster: ClusterState, nodes: Nodes, call: Call): Promise<ServerCommands> {
  let failure: unknown
  for (const place of [cluster.anyPlace(nodes.open()), ...cluster.places()]) {
    try {
      return { node: nodeName(place), commands: (await nodes.at(place, call)).commands }
    } catch (error) {
      call.signal.throwIfAborted()
      failure ??= error
    }
  }
  await untilAborted(cluster.refresh('wrong'), call.signal)
  throw cluster.lost ? failure : nodeAway(failure)
}

function placesOf(cluster: ClusterState): ReadonlyMap<string, HostPort> {
  return new Map(cluster.primaries().map(({ place }) => [placeKey(place), place]))
}

function nodeName({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** The same error, saying which node of a cluster it is of. */
export function ofNode(error: unknown, node: string | undefined): unknown {
  return node === undefined || !(error instanceof ApiError) ? error : named(error, node)
}

function named(error: ApiError, node: string): ApiError {
  return withOptions(error, { cause: error.cause, details: { ...(error.details as object | undefined), node } })
}

/** Throws where one is missing. */
export function refuseMissing([first]: readonly Missing[]): void {
  if (first !== undefined) throw first.error
}

function primaryAway(node: string, error: ApiError): ApiError {
  if (error.code === 'TARGET_NOT_ALLOWED' || error.code === 'DB_INVALID_CREDENTIALS') return named(error, node)
  const message = 'A primary of the cluster can not be reached, so not all could be seen. Try again.'
  return new ApiError('DB_UNAVAILABLE', message, { cause: error, details: { node } })
}

/** A node went while it was listened to: no failure of the whole cluster. */
export function primaryLost(cause: unknown, node: string): ApiError {
  const message =
    'The connection to a primary of the cluster was lost. Connect again; what happens meanwhile is missed.'
  return new ApiError('DB_UNAVAILABLE', message, { cause, details: { reason: 'node_lost', node } })
}

function otherPrimaries(): ApiError {
  const message =
    'The cluster has other primaries than when this stream began, and those of the last seconds may be missed. Connect again.'
  return new ApiError('DB_UNAVAILABLE', message, { details: { reason: 'primaries_changed' } })
}
