import { isIP, type LookupFunction } from 'node:net'
import { ApiError } from '../../errors.ts'
import { checkHost } from '../connection-string.ts'
import { failed } from '../dial-errors.ts'
import { callWithin } from '../engine.ts'
import type { HostPort } from '../srv.ts'
import type { Target } from '../target.ts'
import { BSON, type MongoClient } from './driver.ts'

/** What keeps a driver from hosts the dial policy refuses, those it learns from a server included. */
export interface Members {
  /** For the driver's `lookup`: a name is resolved and checked at every dial, and what was checked is dialled. */
  readonly lookup: LookupFunction
  /** Why a member was left out or a name not dialled, from then on. */
  readonly refusal: ApiError | undefined
  /**
   * Screens what servers say of their set; `onRefused` is called once. A member is left out before the driver knows of it: its
   * `serverHeartbeatSucceeded` comes before it reads the same document. A throw from `serverOpening` would stop the dial too, but the
   * driver runs that inside a promise nobody awaits.
   */
  watch(client: MongoClient, onRefused: () => void): void
}

const lists = ['hosts', 'passives', 'arbiters'] as const
// As many as a replica set may have: https://www.mongodb.com/docs/manual/reference/limits/#replica-sets
const maxMembers = 50

export function screenMembers(target: Target, seeds: readonly HostPort[], timeoutMs: number): Members {
  const ports = new Map<string, Set<number>>()
  let refusal: ApiError | undefined
  let tell = () => undefined as void
  const refuse = (error: ApiError) => {
    if (refusal !== undefined) return
    refusal = error
    tell()
  }
  for (const seed of seeds) note(seed)
  return {
    get refusal() {
      return refusal
    },
    lookup,
    watch(client, onRefused) {
      tell = onRefused
      client.on('serverHeartbeatSucceeded', ({ reply }) => {
        dropWrongTypes(reply)
        const named = lists.flatMap((list) => (reply[list] as unknown[] | undefined) ?? [])
        const crowded = named.length > maxMembers || countOf(ports) > 2 * maxMembers
        if (crowded) refuse(failed('protocol', `The server names more than ${maxMembers} members of its set.`))
        for (const list of lists)
          if (Array.isArray(reply[list])) reply[list] = crowded ? [] : reply[list].filter(isAllowed)
      })
    },
  }

  function isAllowed(address: unknown): boolean {
    const member = typeof address === 'string' ? splitAddress(address) : undefined
    const problem =
      member === undefined
        ? failed('protocol', 'The server names a member of its set that is no host and port.')
        : isIP(member.host) === 0
          ? undefined
          : target.refusalOf(member)
    if (member !== undefined) note(member)
    if (problem !== undefined) refuse(problem)
    return problem === undefined
  }

  function note({ host, port }: HostPort): void {
    ports.set(host, (ports.get(host) ?? new Set()).add(port))
  }

  // The driver does not say which port a name is looked up for, so it has to be allowed with each it goes by.
  async function resolve(host: string): Promise<readonly string[]> {
    using call = callWithin(timeoutMs)
    const known = [...(ports.get(host) ?? [target.port])]
    const [first = [], ...others] = await Promise.all(known.map((port) => target.resolve({ host, port }, call)))
    return first.filter((address) => others.every((answers) => answers.includes(address)))
  }

  function lookup(...[host, options, callback]: Parameters<LookupFunction>): void {
    const settle = callback as (error: Error | null, address?: unknown, family?: number) => void
    resolve(host).then(
      (addresses) => {
        const answers = addresses.map((address) => ({ address, family: isIP(address) }))
        if (options.all) settle(null, answers)
        else settle(null, answers[0]?.address, answers[0]?.family)
      },
      (error: unknown) => {
        if (error instanceof ApiError && error.code === 'TARGET_NOT_ALLOWED') refuse(error)
        settle(error instanceof Error ? error : new Error('refused', { cause: error }))
      },
    )
  }
}

function countOf(ports: ReadonlyMap<string, ReadonlySet<number>>): number {
  return ports.values().reduce((sum, { size }) => sum + size, 0)
}

function splitAddress(address: string): HostPort | undefined {
  const match = /^(\[[^\]]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(address)
  const host = checkHost(match?.[1] ?? '')
  const port = Number(match?.[2] ?? 27_017)
  return 'problem' in host || host.value.endsWith('.sock') || port < 1 || port > 65_535
    ? undefined
    : { host: host.value, port }
}

const isText = (value: unknown) => typeof value === 'string'
const isCounter = (value: unknown) => typeof value === 'number' || BSON.Long.isLong(value)
const types: Readonly<Record<string, (value: BSON.Document) => boolean>> = {
  ...Object.fromEntries(lists.map((list) => [list, Array.isArray])),
  setName: isText,
  me: isText,
  primary: isText,
  electionId: (value) => value instanceof BSON.ObjectId,
  topologyVersion: ({ processId, counter }) => processId instanceof BSON.ObjectId && isCounter(counter),
  $clusterTime: ({ clusterTime }) => clusterTime instanceof BSON.Timestamp,
}

// The driver takes these types for granted, in code whose errors nobody catches.
function dropWrongTypes(reply: BSON.Document): void {
  for (const [name, fits] of Object.entries(types)) {
    const value: unknown = reply[name]
    if (value !== undefined && (value === null || !fits(value as BSON.Document))) delete reply[name]
  }
}
