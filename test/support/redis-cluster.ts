import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { KeyPair } from './certificates.ts'
import { testPassword } from './credentials.ts'
import { findCommand } from './debian.ts'
import { startReaper } from './reaper.ts'
import { startServer } from './server-process.ts'

/** One `redis-server` of a group; `run` sends a command over a connection of its own. */
export interface RedisNode {
  readonly host: string
  readonly port: number
  readonly pid: number
  /** For what the servers tell each other. */
  readonly busPort: number
  run(...command: readonly (string | number)[]): Promise<unknown>
  /** Ends the process at once, as a crash does. */
  kill(): void
}

/** Starts servers that go away with the group, also when this process is killed. */
export interface RedisGroup extends AsyncDisposable {
  readonly password: string
  /** Starts one with these lines of configuration; a sentinel asks for no password unless `secret` says that they make it. */
  start(lines: readonly string[], kind?: 'server' | 'sentinel', secret?: string): Promise<RedisNode>
}

/** A cluster whose nodes are primaries first, then a replica of each of the first of them. */
export interface RedisCluster extends RedisGroup {
  readonly nodes: readonly RedisNode[]
  readonly url: string
  readonly config: { readonly topology: 'cluster'; readonly nodes: readonly string[] }
  /** The node that serves a slot, by what the first node that lives says. */
  ownerOf(slot: number): Promise<RedisNode>
  idOf(node: RedisNode): Promise<string>
  /** Begins to move a slot and hands over these of its keys; `finish` hands over the others and tells both nodes. */
  beginMove(slot: number, to: RedisNode, keys: readonly string[]): Promise<{ finish(): Promise<void> }>
}

/** What servers prove themselves with, also to each other; PEM. */
export interface RedisTls extends KeyPair {
  readonly ca: string
}

const host = '127.0.0.1'
const slots = 16_384

/** With TLS none of the servers has a plain port. */
export async function startRedisGroup(tls?: RedisTls): Promise<RedisGroup> {
  const command = await findCommand('redis-server', 'redis-server')
  if (command === null) throw new Error('Redis is missing. Remedy: apt-get install redis-server')
  const folder = await mkdtemp(join(tmpdir(), 'bun-api-redis-'))
  const reaper = startReaper(folder)
  const password = testPassword()
  const tlsLines = tls === undefined ? [] : await writeTls(folder, tls)
  let count = 0
  return {
    password,
    async start(lines, kind = 'server', secret = kind === 'server' ? password : undefined) {
      const name = `${kind}-${count++}`
      const own = join(folder, name)
      await mkdir(own, { mode: 0o700 })
      const plan = {
        name,
        folder: own,
        owner: null,
        stopSignal: 'SIGKILL' as const,
        command: async (port: number, busPort: number) => {
          const file = join(own, 'redis.conf')
          const common = [`bind ${host}`, `port ${port}`, `dir ${own}`, 'daemonize no', 'protected-mode no']
          const server = [`requirepass ${password}`, `masterauth ${password}`, 'save ""', 'repl-diskless-sync-delay 0']
          const ports = tls === undefined ? [] : ['port 0', `tls-port ${port}`]
          const text = [...common, ...ports, ...tlsLines, ...(kind === 'server' ? server : []), ...lines].join('\n')
          await writeFile(file, `${text.replaceAll('%bus%', String(busPort))}\n`, { mode: 0o600 })
          return [command, file, ...(kind === 'sentinel' ? ['--sentinel'] : [])]
        },
        probe: async (port: number) => void (await runOn(port, secret, ['ping'], tls)),
      }
      const { pid, port, tlsPort: busPort } = await startServer(plan, reaper)
      return {
        host,
        port,
        pid,
        busPort,
        run: (...given) => runOn(port, secret, given.map(String), tls),
        kill: () => process.kill(pid, 'SIGKILL'),
      }
    },
    [Symbol.asyncDispose]: () => reaper.stop(),
  }
}

/** Starts a cluster of so many primaries, of which the first have a replica. A dead node takes down its own slots alone. */
export async function startCluster(primaries: number, replicas: number, tls?: RedisTls): Promise<RedisCluster> {
  const group = await startRedisGroup(tls)
  const lines = [
    'cluster-enabled yes',
    'cluster-port %bus%',
    'cluster-node-timeout 700',
    'cluster-require-full-coverage no',
    'cluster-replica-validity-factor 0',
    'cluster-allow-replica-migration no',
  ]
  try {
    const nodes = await Promise.all(Array.from({ length: primaries + replicas }, () => group.start(lines)))
    await assemble(nodes, primaries)
    const [seed] = nodes
    if (seed === undefined) throw new Error('a cluster has at least one primary')
    const ownerOf = async (slot: number) => {
      const alive = nodes.filter(({ pid }) => isAlive(pid))
      const ranges = (await alive[0]?.run('cluster', 'slots')) as [number, number, [string, number]][]
      const port = ranges.find(([from, to]) => from <= slot && slot <= to)?.[2][1]
      const owner = nodes.find((node) => node.port === port)
      if (owner === undefined) throw new Error(`nobody serves slot ${slot}`)
      return owner
    }
    return {
      ...group,
      nodes,
      url: `${tls === undefined ? 'redis' : 'rediss'}://:${group.password}@${host}:${seed.port}/0`,
      config: { topology: 'cluster', nodes: nodes.slice(1, primaries).map(({ port }) => `${host}:${port}`) },
      idOf,
      ownerOf,
      async beginMove(slot, to, keys) {
        const from = await ownerOf(slot)
        const [fromId, toId] = await Promise.all([idOf(from), idOf(to)])
        const move = (moving: readonly string[]) =>
          from.run('migrate', host, to.port, '', 0, 5_000, 'AUTH', group.password, 'KEYS', ...moving)
        await to.run('cluster', 'setslot', slot, 'importing', fromId)
        await from.run('cluster', 'setslot', slot, 'migrating', toId)
        await move(keys)
        return {
          async finish() {
            await move((await from.run('cluster', 'getkeysinslot', slot, 1_000)) as string[])
            for (const node of [to, from]) await node.run('cluster', 'setslot', slot, 'node', toId)
          },
        }
      },
    }
  } catch (error) {
    await group[Symbol.asyncDispose]()
    throw error
  }
}

async function writeTls(folder: string, tls: RedisTls): Promise<readonly string[]> {
  const written = await Promise.all(
    (['cert', 'key', 'ca'] as const).map(async (name) => {
      const path = join(folder, `${name}.pem`)
      await writeFile(path, tls[name], { mode: 0o600 })
      return `tls-${name === 'ca' ? 'ca-cert' : name}-file ${path}`
    }),
  )
  return [...written, 'tls-auth-clients no', 'tls-replication yes', 'tls-cluster yes']
}

async function assemble(nodes: readonly RedisNode[], primaries: number): Promise<void> {
  const [seed] = nodes
  await Promise.all(
    nodes.map(async (node, index) => {
      await node.run('cluster', 'set-config-epoch', index + 1)
      if (index >= primaries) return
      const [from, to] = [index, index + 1].map((part) => Math.floor((part * slots) / primaries)) as [number, number]
      await node.run('cluster', 'addslotsrange', from, to - 1)
    }),
  )
  for (const { port, busPort } of nodes.slice(1)) await seed?.run('cluster', 'meet', host, port, busPort)
  await until(async () =>
    (await infosOf(nodes)).every((info) => info.includes(`cluster_known_nodes:${nodes.length}\r`)),
  )
  await Promise.all(
    nodes.slice(primaries).map(async (replica, index) => {
      const primary = nodes[index]
      if (primary) await replica.run('cluster', 'replicate', await idOf(primary))
    }),
  )
  await until(async () => (await infosOf(nodes)).every((info) => info.includes('cluster_state:ok')))
  await until(async () => {
    const all = await Promise.all(nodes.slice(primaries).map((replica) => replica.run('info', 'replication')))
    return all.every((info) => String(info).includes('master_link_status:up'))
  })
}

function infosOf(nodes: readonly RedisNode[]): Promise<readonly string[]> {
  return Promise.all(nodes.map(async (node) => String(await node.run('cluster', 'info'))))
}

async function idOf(node: RedisNode): Promise<string> {
  return String(await node.run('cluster', 'myid'))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Waits until it holds, and throws when it does not in time. */
export async function until(holds: () => Promise<boolean>, withinMs = 15_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await holds().catch(() => false))) {
    if (performance.now() > end) throw new Error('it never came to that')
    await Bun.sleep(20)
  }
}

async function runOn(
  port: number,
  password: string | undefined,
  [name = '', ...args]: readonly string[],
  tls?: RedisTls,
): Promise<unknown> {
  const redis = new Redis({
    host,
    port,
    ...(password === undefined ? {} : { password }),
    // The tests' own connections need not care for names.
    ...(tls === undefined ? {} : { tls: { ca: tls.ca, checkServerIdentity: () => undefined } }),
    lazyConnect: true,
    retryStrategy: () => null,
    connectTimeout: 5_000,
    enableReadyCheck: false,
  })
  redis.on('error', () => {})
  try {
    await redis.connect()
    return await redis.call(name, ...args)
  } finally {
    redis.disconnect()
  }
}
