import { type RedisGroup, type RedisNode, startRedisGroup, until } from './redis-cluster.ts'

/** A primary with a replica, watched by three sentinels that agree after half a second of silence. */
export interface RedisSentinels extends RedisGroup {
  readonly primary: RedisNode
  readonly replica: RedisNode
  readonly sentinels: readonly RedisNode[]
  /** Names the first sentinel, with the credential of the servers. */
  readonly url: string
  readonly config: {
    readonly topology: 'sentinel'
    readonly sentinelMaster: string
    readonly nodes: readonly string[]
  }
  /** The port that a sentinel names. */
  primaryPort(sentinel: RedisNode): Promise<number>
}

const host = '127.0.0.1'
const name = 'app-primary'

export async function startSentinels(): Promise<RedisSentinels> {
  const group = await startRedisGroup()
  try {
    const primary = await group.start([])
    const replica = await group.start([`replicaof ${host} ${primary.port}`])
    await until(async () => String(await replica.run('info', 'replication')).includes('master_link_status:up'))
    const lines = [
      `sentinel monitor ${name} ${host} ${primary.port} 2`,
      `sentinel auth-pass ${name} ${group.password}`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 2000`,
    ]
    const sentinels = await Promise.all([1, 2, 3].map(() => group.start(lines, 'sentinel')))
    await until(async () => {
      const known = await Promise.all(
        sentinels.map((sentinel) =>
          Promise.all(['sentinels', 'replicas'].map((what) => sentinel.run('sentinel', what, name))),
        ),
      )
      return known.every(
        ([others, replicas]) => (others as unknown[]).length === 2 && (replicas as unknown[]).length === 1,
      )
    })
    const [first] = sentinels
    return {
      ...group,
      primary,
      replica,
      sentinels,
      url: `redis://:${group.password}@${host}:${first?.port}/0`,
      config: {
        topology: 'sentinel',
        sentinelMaster: name,
        nodes: sentinels.slice(1).map(({ port }) => `${host}:${port}`),
      },
      async primaryPort(sentinel) {
        const [, port] = (await sentinel.run('sentinel', 'get-master-addr-by-name', name)) as [string, string]
        return Number(port)
      },
    }
  } catch (error) {
    await group[Symbol.asyncDispose]()
    throw error
  }
}
