import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { deletePostgresVariables } from '#test/support/environment.ts'
import { measureAccess, printAccess } from './access.ts'
import { measureLayers, printLayers } from './layers.ts'
import { commit, machine } from './machine.ts'
import { type Load, measure, type Measurement } from './measure.ts'
import { type Operation, operationNames, operationsOf } from './operations.ts'
import { isWanted, type Options, readOptions } from './options.ts'
import { printOperations, printRatios, round, toOperationResult, toRatioResult } from './report.ts'
import { measureScale, printScale } from './scale.ts'
import { measureScan, printScan } from './scan.ts'
import { startBare } from './server.ts'
import { openStage, openStores, type Stage } from './stage.ts'
import { measureStart, printStart } from './start.ts'
import { measureWebdis, printWebdis } from './webdis.ts'
import { createRunner, findWrk, type RunLoad, versionOf } from './wrk.ts'

/**
 * Starts real stores and the server as production would, loads it with wrk, and prints and keeps what docs/performance.md
 * names. A missed target is a result; a wrong answer makes the exit code 1.
 */
const usage = 'bun run bench [--quick] [--only <name>]... [--seconds n] [--rounds n] [--connections n] [--output file]'

try {
  const options = readOptions(process.argv.slice(2), [
    ...operationNames(),
    'start',
    'layers',
    'access',
    'scale',
    'webdis',
    'scan',
  ])
  deletePostgresVariables()
  process.exitCode = (await bench(options)) === 0 ? 0 : 1
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  console.error(usage)
  process.exitCode = 1
}

/** Answers the number of operations that failed. */
async function bench(options: Options): Promise<number> {
  await using cleanup = new AsyncDisposableStack()
  const wrk = await findWrk()
  const stores = await openStores(cleanup)
  // It goes away with the stores, also when this process is killed.
  const folder = await mkdtemp(join(stores.folder, 'bench-'))
  const run = createRunner(wrk, folder, options.connections)
  const stage = await openStage(stores, folder, cleanup)
  const { quick, seconds, rounds, connections } = options
  const wanted = (name: string) => isWanted(options, name)

  const operations = operationsOf(stage.ids).filter(({ name }) => wanted(name))
  const start = wanted('start') ? await measureStart(stage, folder, quick ? 1 : 5) : null
  if (start !== null) printStart(start)
  const loads = operations.length === 0 ? null : await measureOperations(operations, stage, folder, run, options)
  const webdis = wanted('webdis') ? await measureWebdis(stage, stores.redis, folder, run, options) : null
  if (webdis !== null) printWebdis(webdis)
  const scan = wanted('scan') ? await measureScan(stage, stores.redis, run, options) : null
  if (scan !== null) printScan(scan)
  const layers = wanted('layers') ? await measureLayers(stage, quick ? 1 : 6) : null
  if (layers !== null) printLayers(layers)
  const access = wanted('access') ? await measureAccess(stage, quick ? 1 : 4) : null
  if (access !== null) printAccess(access)
  const scale = wanted('scale') ? await measureScale(stores, folder, quick ? 500 : 10_000, run, options) : null
  if (scale !== null) printScale(scale)

  await write(options, {
    date: new Date().toISOString().slice(0, 10),
    commit: await commit(),
    machine: machine(),
    versions: { bun: Bun.version, wrk: await versionOf(wrk), ...stage.versions },
    options: { quick, seconds, rounds, connections },
    start,
    ...loads,
    webdis,
    scan,
    layers,
    access,
    scale,
  })
  return [...(loads?.operations ?? []), ...(webdis ?? []), ...(scan?.rows ?? []), ...(scale?.rows ?? [])].filter(
    ({ failure }) => failure !== undefined,
  ).length
}

async function measureOperations(
  operations: readonly Operation[],
  { server }: Stage,
  folder: string,
  run: RunLoad,
  options: Options,
) {
  await using bare = new AsyncDisposableStack()
  const hello = { requests: [{ method: 'GET', path: '/' }], contains: 'hello' } as const
  const bareHono: Load = { ...bare.use(await startBare('hono', folder)), ...hello, name: 'bare Hono' }
  const bareBun: Load = {
    ...bare.use(await startBare('bun', folder)),
    ...hello,
    name: 'bare Bun.serve',
    against: bareHono,
  }
  const loads = operations.map(({ name, request, contains, share }): Load => ({
    ...server,
    name,
    requests: [request],
    contains,
    after: server.trimLog,
    ...(share === undefined ? {} : { against: bareHono }),
  }))
  const seen = new Map((await measure([bareBun, ...loads], run, options)).map((load) => [load.name, load]))
  const seenOf = (name: string): Measurement => {
    const found = seen.get(name)
    if (found === undefined) throw new Error(`${name} was not measured`)
    return found
  }
  const bun = seenOf(bareBun.name)
  const results = operations.map((operation) => toOperationResult(operation, seenOf(operation.name)))
  const ratios = operations.flatMap((operation) => toRatioResult(operation, seenOf(operation.name), bun) ?? [])
  const bareRates = { bun: round(bun.requestsPerSecond.median), hono: round(bun.baseline?.median ?? 0) }
  printOperations(operations, results, options.connections)
  printRatios(operations, ratios)
  console.log(`\nbare Hono ${bareRates.hono}/s, bare Bun.serve ${bareRates.bun}/s`)
  const rss = await server.rss()
  const rssAfterLoadMiB = rss === null ? null : Math.round(rss / 2 ** 20)
  if (rssAfterLoadMiB !== null) console.log(`\nResident memory of the server after these loads: ${rssAfterLoadMiB} MiB`)
  return { operations: results, bare: bareRates, ratios, rssAfterLoadMiB }
}

async function write({ output, quick, only }: Options, result: Readonly<Record<string, unknown>>): Promise<void> {
  const whole = !quick && only.length === 0
  const path = output ?? (whole ? join(import.meta.dir, 'results', `${String(result['date'])}.json`) : undefined)
  if (path === undefined) return
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, JSON.stringify(result))
  // The gate checks its format as well.
  const format = [process.execPath, 'fmt', path]
  await Bun.spawn(format, { cwd: join(import.meta.dir, '..'), stdout: 'ignore', stderr: 'ignore' }).exited
  console.log(`\nwritten to ${path}`)
}
