import { writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { findCommand } from '#test/support/debian.ts'
import { freePorts } from '#test/support/ports.ts'
import type { RedisStore } from '#test/support/stores.ts'
import { type Load, measure, type Spread } from './measure.ts'
import { operationsOf } from './operations.ts'
import type { Options } from './options.ts'
import { printTable, rangeOf, round } from './report.ts'
import { startBare, startBunApi } from './server.ts'
import { redisKey, type Stage } from './stage.ts'
import type { RunLoad } from './wrk.ts'

/** Throughput of GET and SET over that of Webdis on the same Redis, and what a request costs beyond a bare hello. */
export interface WebdisResult {
  readonly name: string
  readonly perSecond: number
  readonly p99: number
  readonly webdisPerSecond: number
  readonly ofWebdis: number
  readonly range: readonly [number, number]
  /** One request's share of the time at full load, over that of a bare Hono hello, in microseconds. */
  readonly overHonoMicroseconds: number
  readonly reached: 'goal' | 'floor' | 'neither'
  readonly failure?: string
}

const floor = 0.6
const goal = 1
const readyWithinMs = 5_000
const webdisThreads = 4

/**
 * Webdis is a C server (https://webd.is) that does without keys, checks, limits and a log line; it has its four threads. Measured are one
 * process and as many workers as there are processors, four at the most.
 */
export async function measureWebdis(
  { server, ids, keys, registry }: Stage,
  redis: RedisStore | null,
  folder: string,
  run: RunLoad,
  options: Options,
): Promise<readonly WebdisResult[]> {
  const command = await findCommand('webdis', 'webdis')
  if (command === null || redis === null || ids.redis === undefined) {
    console.log('\nnot compared with Webdis, which is missing. Remedy: apt-get install webdis')
    return []
  }
  await using webdis = await startWebdis(command, redis, folder)
  await using bare = await startBare('hono', folder)
  const hello: Load = { ...bare, name: 'bare Hono', requests: [{ method: 'GET', path: '/' }], contains: 'hello' }
  const count = Math.min(webdisThreads, availableParallelism())
  await using several = await startBunApi(registry.url, keys, folder, count)
  const servers = [{ of: '', ...server }, ...(count > 1 ? [{ of: `, ${count} workers`, ...several }] : [])]
  const paths = { 'redis-get': `/GET/${redisKey}`, 'redis-set': `/SET/${redisKey}/hello` }
  const loads = operationsOf(ids).flatMap(({ name, request, contains }): Load[] => {
    if (!(name in paths)) return []
    const path = paths[name as keyof typeof paths]
    const against: Load = { ...webdis, name: `webdis ${name}`, requests: [{ method: 'GET', path }], contains: '{' }
    return servers.map(({ of, origin, headers, trimLog }) => {
      return { origin, headers, name: name + of, requests: [request], contains, after: trimLog, against }
    })
  })
  const [bareSeen, ...seen] = await measure([hello, ...loads], run, options)
  const honoMicroseconds = 1e6 / (bareSeen?.requestsPerSecond.median ?? Number.NaN)
  const spreadOrNone = (spread: Spread | null): Spread => spread ?? { min: 0, median: 0, max: 0 }
  return seen.map(({ name, requestsPerSecond: { median }, p99, baseline, ratio, failure }) => {
    const ofWebdis = spreadOrNone(ratio).median
    return {
      name,
      perSecond: round(median),
      p99: round(p99, 2),
      webdisPerSecond: round(spreadOrNone(baseline).median),
      ofWebdis: round(ofWebdis, 3),
      range: rangeOf(spreadOrNone(ratio), 3),
      overHonoMicroseconds: round(1e6 / median - honoMicroseconds, 1),
      reached: ofWebdis >= goal ? 'goal' : ofWebdis >= floor ? 'floor' : 'neither',
      ...(failure === null ? {} : { failure }),
    }
  })
}

export function printWebdis(results: readonly WebdisResult[]): void {
  if (results.length === 0) return
  console.log(`\nBeside Webdis on the same Redis; floor ${floor}, goal ${goal}\n`)
  const rows = results.map((result) => [
    result.name,
    String(result.perSecond),
    `${result.p99.toFixed(1)} ms`,
    String(result.webdisPerSecond),
    result.ofWebdis.toFixed(2),
    result.range.map((value) => value.toFixed(2)).join(' to '),
    `${result.overHonoMicroseconds.toFixed(1)} µs`,
    result.failure === undefined ? result.reached : `FAILED: ${result.failure}`,
  ])
  const head = ['operation', 'req/s', 'p99', 'Webdis req/s', 'of Webdis', 'rounds', 'over bare Hono', 'reached']
  printTable(head, rows)
}

async function startWebdis(command: string, redis: RedisStore, folder: string) {
  const [port] = await freePorts()
  const config = {
    redis_host: redis.host,
    redis_port: redis.port,
    redis_auth: redis.password,
    http_host: '127.0.0.1',
    http_port: port,
    daemonize: false,
    websockets: false,
    threads: webdisThreads,
    verbosity: 0,
    logfile: join(folder, 'webdis.log'),
  }
  const file = join(folder, 'webdis.json')
  await writeFile(file, JSON.stringify(config), { mode: 0o600 })
  const child = Bun.spawn([command, file], { cwd: folder, stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' })
  const stop = async () => {
    child.kill('SIGTERM')
    await child.exited
  }
  const origin = `http://127.0.0.1:${port}`
  const began = performance.now()
  const answers = () =>
    fetch(`${origin}/PING`).then(
      ({ ok }) => ok,
      () => false,
    )
  while (!(await answers())) {
    if (child.exitCode === null && performance.now() - began < readyWithinMs) await Bun.sleep(10)
    else {
      await stop()
      throw new Error('webdis did not start')
    }
  }
  return { origin, headers: {}, [Symbol.asyncDispose]: stop }
}
