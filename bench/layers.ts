import { openSync, closeSync, writeSync } from 'node:fs'
import { Hono } from 'hono'
import { DatabaseParams, Database } from '#routes/databases/schemas.ts'
import { identification } from '#src/http/auth.ts'
import { logObserver } from '#src/http/observation.ts'
import { RequestState } from '#src/http/request-state.ts'
import { createLog } from '#src/log.ts'
import { toPublic } from '#src/registry/database.ts'
import { asker, type Fetches, openInProcess } from './in-process.ts'
import { spreadOf } from './measure.ts'
import { printTable, round } from './report.ts'
import type { Stage } from './stage.ts'

/** CPU time of one request, or of one layer's part in it, in microseconds. */
export interface Layer {
  readonly name: string
  readonly microseconds: number
}

type Work = () => unknown

const runs = 5
/** As under load: one by one, each wait for a store would cost a wake-up of its own. */
const together = 64

/** What the log says of a request. */
const logged = {
  request_id: '01990000-0000-7000-8000-000000000000',
  method: 'GET',
  route: '/api/platform/databases/:id',
  status: 200,
  ms: 1.25,
  access: 'read',
  operation: 'read',
}

/** In this process and without a socket: CPU time of `app.fetch`, and of each layer's own function where it can't be left out. */
export async function measureLayers({ registry, keys, ids }: Stage, seconds: number): Promise<readonly Layer[]> {
  const sink = openSync('/dev/null', 'w')
  const logRequest = logObserver(createLog('info', { write: (line) => writeSync(sink, line) }))
  await using server = await openInProcess(registry.url, keys)
  try {
    const hello = new Hono().get('/', (c) => c.text('hello'))
    const identify = identification([keys.BUN_API_KEY])
    const request = new Request('http://127.0.0.1/', { headers: { authorization: `Bearer ${keys.BUN_API_KEY}` } })
    const path = `/api/platform/databases/${ids.postgres}`
    const row = toPublic(await server.deps.registry.get(ids.postgres))
    const cost = (work: Work) => cpuOf(work, seconds)
    const asking = (app: Fetches, at: string) => {
      const ask = asker(app, keys)
      return () => ask(at)
    }
    const bare = await cost(asking(hello, '/'))
    return [
      { name: 'a bare Hono hello', microseconds: bare },
      { name: 'health, no log', microseconds: await cost(() => server.ask('/health')) },
      { name: 'get database, no log', microseconds: await cost(() => server.ask(path)) },
      {
        name: 'layer: the row from the registry',
        microseconds: await cost(() => server.deps.registry.get(ids.postgres)),
      },
      {
        name: 'layer: the row from memory',
        microseconds: await cost(() => server.deps.registry.read(ids.postgres)),
      },
      {
        name: 'layer: log line',
        microseconds: await cost(() => logRequest({ ...logged, database_id: row.id, code: undefined })),
      },
      {
        name: 'layer: state and authentication',
        microseconds: await cost(() => identify(new RequestState(server.deps, request, undefined))),
      },
      { name: 'layer: validation of the id', microseconds: await cost(() => DatabaseParams.parse({ id: row.id })) },
      { name: 'layer: response schema of one database', microseconds: await cost(() => Database.parse(row)) },
    ].map(({ name, microseconds }) => ({ name, microseconds: round(microseconds, 2) }))
  } finally {
    closeSync(sink)
  }
}

export function printLayers(layers: readonly Layer[]): void {
  console.log(`\nCPU time in this process, without a socket, ${together} at a time\n`)
  printTable(
    ['of', 'µs'],
    layers.map(({ name, microseconds }) => [name, microseconds.toFixed(1)]),
  )
}

/** Microseconds of user and system time for one call, the garbage collector's included; the median of five runs. */
export async function cpuOf(work: Work, seconds: number): Promise<number> {
  const perCall: number[] = []
  // The first run only warms up.
  for (let run = 0; run < runs + 1; run++) {
    const before = process.cpuUsage()
    const until = performance.now() + (seconds * 1000) / runs
    let calls = 0
    while (performance.now() < until) {
      await Promise.all(Array.from({ length: together }, work))
      calls += together
    }
    const { user, system } = process.cpuUsage(before)
    if (run > 0) perCall.push((user + system) / calls)
  }
  return spreadOf(perCall).median
}
