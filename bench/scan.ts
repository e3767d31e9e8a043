import { Redis } from 'ioredis'
import type { RedisStore } from '#test/support/stores.ts'
import { spreadOf } from './measure.ts'
import type { Options } from './options.ts'
import { printTable, rangeOf, round } from './report.ts'
import { startWalk, type Walk, walks } from './scan-walks.ts'
import { clientOf, type Stage } from './stage.ts'
import type { RunLoad, Sample, Target } from './wrk.ts'

/** GETs by many callers beside one caller who walks through the keyspace again and again. */
export interface ScanRow {
  readonly load: string
  readonly walk: string
  readonly p99Alone: number
  readonly p99: number
  /** The second over the first: the median of the rounds. */
  readonly ratio: number
  readonly range: readonly [number, number]
  /** Keys that the walk looked at in a second, beside the GETs. */
  readonly keysPerSecond: number
  readonly met: boolean
  readonly failure?: string
}

export interface ScanResult {
  readonly keys: number
  readonly rows: readonly ScanRow[]
  /** Keys that each walk looks at in a second when nobody else asks for anything. */
  readonly alone: Readonly<Record<string, number>>
}

interface Load {
  readonly title: string
  readonly pauseMs: number
}

const database = 9
const wantedRatio = 2
const [allKeys, fewKeys, keysAtOnce] = [1_000_000, 100_000, 20_000]
const seconds = 1
const settleMs = 200
const aloneMs = 2_000
const loads: readonly Load[] = [
  { title: 'as fast as answered', pauseMs: 0 },
  { title: 'with pauses', pauseMs: 20 },
]

export async function measureScan(
  stage: Stage,
  redis: RedisStore | null,
  run: RunLoad,
  { quick, rounds }: Options,
): Promise<ScanResult | null> {
  if (redis === null) return null
  const keys = quick ? fewKeys : allKeys
  await using filled = await fill(redis, keys)
  const base = `/api/platform/redis/${await register(stage, filled.url)}`
  const { server } = stage
  const gets: Target = { ...server, requests: [{ method: 'GET', path: `${base}/get?key=session:1` }] }
  const alone: Record<string, number> = {}
  // Twice: the first one is to warm up.
  for (let n = 0; n < 2; n++)
    for (const walk of walks) {
      await using running = startWalk(walk, server, base)
      await Bun.sleep(quick ? settleMs : aloneMs)
      alone[walk.name] = round(running.keysPerSecond())
    }
  const rows: ScanRow[] = []
  for (const load of loads)
    for (const walk of walks) {
      const [before, beside, rates]: [Sample[], Sample[], number[]] = [[], [], []]
      const measureAlone = async () => void before.push(await run({ ...gets, pauseMs: load.pauseMs }, seconds))
      const measureBeside = async () => {
        await using running = startWalk(walk, server, base)
        beside.push(await run({ ...gets, pauseMs: load.pauseMs }, seconds))
        rates.push(running.keysPerSecond())
      }
      await measureAlone()
      before.length = 0
      for (let n = 0; n < rounds; n++) {
        // In turn, so that a machine that grows slower is unfair to both alike.
        for (const one of n % 2 === 0 ? [measureAlone, measureBeside] : [measureBeside, measureAlone]) {
          await one()
          await Bun.sleep(settleMs)
        }
        server.trimLog()
      }
      rows.push(toRow(load, walk, before, beside, rates))
    }
  return { keys, rows, alone }
}

export function printScan({ keys, rows, alone }: ScanResult): void {
  console.log(
    `\nGETs beside a walk through ${keys} keys; met = its p99 is below ${wantedRatio} times that without it\n`,
  )
  printTable(
    ['GETs', 'walk', 'p99 alone', 'p99 beside', 'ratio', 'rounds', 'keys/s', 'keys/s alone', 'met'],
    rows.map((row) => [
      row.load,
      row.walk,
      `${row.p99Alone.toFixed(1)} ms`,
      `${row.p99.toFixed(1)} ms`,
      row.ratio.toFixed(2),
      row.range.map((value) => value.toFixed(2)).join(' to '),
      String(row.keysPerSecond),
      String(alone[row.walk] ?? ''),
      row.failure === undefined ? (row.met ? 'yes' : 'no') : `FAILED: ${row.failure}`,
    ]),
  )
}

function toRow(
  { title }: Load,
  { name }: Walk,
  before: readonly Sample[],
  beside: readonly Sample[],
  rates: readonly number[],
): ScanRow {
  const median = (samples: readonly Sample[]) => spreadOf(samples.map(({ p99 }) => p99)).median
  const ratios = spreadOf(beside.map(({ p99 }, at) => p99 / (before[at]?.p99 ?? Number.NaN)))
  const wrong = [...before, ...beside].reduce((sum, { refused, broken }) => sum + refused + broken, 0)
  return {
    load: title,
    walk: name,
    p99Alone: round(median(before), 2),
    p99: round(median(beside), 2),
    ratio: round(ratios.median, 2),
    range: rangeOf(ratios, 2),
    keysPerSecond: round(spreadOf(rates).median),
    met: wrong === 0 && ratios.median < wantedRatio,
    ...(wrong === 0 ? {} : { failure: `${wrong} answers that were not as they should be` }),
  }
}

/** Strings of one byte, in a logical database that is emptied in the end. */
async function fill(store: RedisStore, count: number): Promise<{ readonly url: string } & AsyncDisposable> {
  const { host, port, password } = store
  const redis = new Redis({ host, port, password, db: database })
  const script = "for n = ARGV[1], ARGV[2] do redis.call('SET', 'session:' .. string.format('%d', n), 'x') end"
  for (let from = 0; from < count; from += keysAtOnce) await redis.eval(script, 0, from, from + keysAtOnce - 1)
  return {
    url: store.url.replace(/\/\d+$/, `/${database}`),
    async [Symbol.asyncDispose]() {
      await redis.flushdb()
      redis.disconnect()
    },
  }
}

async function register({ server }: Stage, connectionString: string): Promise<string> {
  const input = { projectRef: 'default', name: 'bench-scan', type: 'redis', connectionString }
  return String((await clientOf(server)('/databases', input))['id'])
}
