import { ApiError } from '../../errors.ts'
import { failed, timedOut } from '../dial-errors.ts'
import { type Call, callWithin, type Limits, untilAborted } from '../engine.ts'
import type { HostPort } from '../srv.ts'
import type { Target } from '../target.ts'
import { clientOptions } from './client-options.ts'
import { MongoClient } from './driver.ts'
import { translateConnect } from './errors.ts'
import { hello } from './hello.ts'
import { type Members, screenMembers } from './members.ts'

/** A connected driver and what screens its members. The caller closes the client. */
export interface Connected {
  readonly client: MongoClient
  readonly members: Members
}

/** Greets a seed, then connects the driver with options of our own making. Every host it dials passes the dial policy, see `Members`. */
export async function connectClient(target: Target, limits: Limits, call: Call): Promise<Connected> {
  const { hosts, discovered } = await seedsOf(target, call)
  await checkSeeds(target, hosts, call)
  const given = { ...target.config, ...discovered, ...target.options }
  await greetOne(target, hosts, given, call)
  const members = screenMembers(target, hosts, limits.connectTimeoutMs)
  const client = new MongoClient(urlOf(hosts), {
    ...clientOptions(target, limits, given, hosts.length),
    lookup: members.lookup,
  })
  members.watch(client, () => void client.close().catch(() => undefined))
  try {
    await untilAborted(client.connect(), call.signal)
    if (members.refusal) throw members.refusal
    return { client, members }
  } catch (error) {
    // Not awaited: a server that hangs would hold the answer back.
    void client.close().catch(() => undefined)
    if (members.refusal) throw members.refusal
    throw call.signal.aborted ? timedOut('MongoDB did not answer in time.', error) : translateConnect(error)
  }
}

/** The hosts of the connection string, or those its SRV record names, with the options of its TXT record. */
async function seedsOf(
  target: Target,
  call: Call,
): Promise<{ hosts: readonly HostPort[]; discovered: Readonly<Record<string, string>> }> {
  if (target.protocol !== 'mongodb+srv:') return { hosts: target.hosts, discovered: {} }
  call.stage?.('policy')
  const { hosts, options } = await target.resolveSrv(target.host, call)
  return { hosts, discovered: options }
}

// One refused seed ends the attempt: the others would only lead the driver to it. One that can't be resolved now may be down.
async function checkSeeds(target: Target, hosts: readonly HostPort[], call: Call): Promise<void> {
  if (hosts.length === 1) return
  call.stage?.('policy')
  await Promise.all(
    hosts.map((host) =>
      target.resolve(host, call).catch((error: unknown) => {
        if (error instanceof ApiError && error.code === 'TARGET_NOT_ALLOWED') throw error
      }),
    ),
  )
}

async function greetOne(
  target: Target,
  hosts: readonly HostPort[],
  given: Readonly<Record<string, unknown>>,
  call: Call,
): Promise<void> {
  let failure: unknown
  for (const [index, host] of hosts.entries()) {
    try {
      using share = callWithin((call.deadline - performance.now()) / (hosts.length - index), call.signal)
      const greeting = await hello(target, host, { ...share, ...(call.stage ? { stage: call.stage } : {}) })
      // 9 is MongoDB 4.4.
      if (Number(greeting['maxWireVersion']) < 9)
        throw new ApiError('DB_UNSUPPORTED', 'The server is older than MongoDB 4.4.')
      const wanted = given['replicaSet']
      if (wanted === undefined || greeting['setName'] === wanted) return
      failure = failed('protocol', 'The server belongs to another replica set, or to none. Check replicaSet.')
    } catch (error) {
      if (error instanceof ApiError && error.code === 'TARGET_NOT_ALLOWED') throw error
      failure = error
    }
  }
  throw failure
}

function urlOf(hosts: readonly HostPort[]): string {
  return `mongodb://${hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',')}/`
}
