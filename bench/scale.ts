import type { Stores } from '#test/support/stores.ts'
import { insertDatabases } from './idle-databases.ts'
import { openInProcess } from './in-process.ts'
import { type Load, type Measurement, measure, type Rounds } from './measure.ts'
import { type Growth, measureGrowth } from './memory.ts'
import { printTable, rangeOf, round } from './report.ts'
import { type BenchServer, type Keys, makeKeys, startBunApi } from './server.ts'
import { createRegistry, idleUrl, pageSize, redisKey } from './stage.ts'
import type { RunLoad } from './wrk.ts'

/** One operation over many registered databases beside the same over ten. */
export interface ScaleRow {
  readonly operation: string
  readonly requestsPerSecond: number
  readonly p99: number
  readonly requestsPerSecondAtTen: number
  /** Throughput over that at ten databases: the median of the rounds. */
  readonly share: number
  readonly range: readonly [number, number]
  readonly met: boolean
  readonly failure?: string
}

export interface ScaleResult {
  readonly databases: number
  readonly rows: readonly ScaleRow[]
  /** Once each of them was read. */
  readonly read: Growth
  /** Once a Redis command was sent to each; null without a Redis. */
  readonly used: Growth | null
}

interface Side {
  readonly server: BenchServer
  readonly registryUrl: string
  readonly keys: Keys
  readonly ids: readonly string[]
}

const wantedShare = 0.9
const platform = '/api/platform'

/** Two servers that differ in the number of registered databases alone, measured in turn. */
export async function measureScale(
  stores: Stores,
  folder: string,
  databases: number,
  run: RunLoad,
  rounds: Rounds,
): Promise<ScaleResult> {
  await using cleanup = new AsyncDisposableStack()
  const open = async (count: number): Promise<Side> => {
    const registry = cleanup.use(await createRegistry(stores))
    const keys = makeKeys()
    const connectionString = stores.redis?.url ?? idleUrl
    const ids = await insertDatabases({ registryUrl: registry.url, keys, count, connectionString })
    return { server: cleanup.use(await startBunApi(registry.url, keys, folder)), registryUrl: registry.url, keys, ids }
  }
  const few = await open(pageSize)
  const many = await open(databases)
  const seen = await measure(loadsOf(few, many), run, rounds)
  await using server = await openInProcess(many.registryUrl, many.keys)
  const read = await measureGrowth(server, many.ids, (id) => `${platform}/databases/${id}`)
  const get = (id: string) => `${platform}/redis/${id}/get?key=${redisKey}`
  const used = stores.redis === null ? null : await measureGrowth(server, many.ids, get)
  return { databases, rows: seen.map(toRow), read, used }
}

export function printScale({ databases, rows, read, used }: ScaleResult): void {
  console.log(
    `\n${databases} registered databases beside ${pageSize}; met = at least ${wantedShare} of the throughput\n`,
  )
  printTable(
    ['operation', 'req/s', 'p99', `req/s at ${pageSize}`, 'share', 'rounds', 'met'],
    rows.map((row) => [
      row.operation,
      String(row.requestsPerSecond),
      `${row.p99.toFixed(1)} ms`,
      String(row.requestsPerSecondAtTen),
      row.share.toFixed(2),
      row.range.map((value) => value.toFixed(2)).join(' to '),
      row.failure === undefined ? (row.met ? 'yes' : 'no') : `FAILED: ${row.failure}`,
    ]),
  )
  console.log('\nHeap that stays for each registered database\n')
  const growths = Object.entries({ read, used }).map(([done, growth]) => [
    `once each was ${done}`,
    ...(growth === null ? [] : [`${growth.bytesPerDatabase} bytes`, `${growth.noise} bytes`]),
  ])
  printTable(['when', 'heap', 'noise'], growths)
}

function loadsOf(few: Side, many: Side): readonly Load[] {
  const list = `${platform}/databases?limit=${pageSize}`
  const get = (id: string) => `${platform}/databases/${id}`
  const load = (name: string, { server }: Side, paths: readonly string[]): Load => ({
    ...server,
    name,
    requests: paths.map((path) => ({ method: 'GET', path })),
    contains: '"type":"redis"',
    after: server.trimLog,
  })
  const pair = (name: string, path: (side: Side) => readonly string[]): Load => ({
    ...load(name, many, path(many)),
    against: load(name, few, path(few)),
  })
  return [
    pair('List databases', () => [list]),
    pair('Get one database', ({ ids }) => ids.slice(0, 1).map(get)),
    pair('Get any database', ({ ids }) => shuffle(ids).map(get)),
  ]
}

function toRow({ name, requestsPerSecond, p99, ratio, baseline, failure }: Measurement): ScaleRow {
  const share = round(ratio?.median ?? 0, 3)
  return {
    operation: name,
    requestsPerSecond: round(requestsPerSecond.median),
    p99: round(p99, 2),
    requestsPerSecondAtTen: round(baseline?.median ?? 0),
    share,
    range: ratio === null ? [0, 0] : rangeOf(ratio, 3),
    met: failure === null && share >= wantedShare,
    ...(failure === null ? {} : { failure }),
  }
}

function shuffle(ids: readonly string[]): readonly string[] {
  return ids
    .map((id) => [Math.random(), id] as const)
    .sort(([a], [b]) => a - b)
    .map(([, id]) => id)
}
