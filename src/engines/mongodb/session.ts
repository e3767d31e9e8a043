import { invalid } from '../../errors.ts'
import { type Call, type Limits, remainingMs, type ServerInfo, type Session, untilAborted } from '../engine.ts'
import { poolExhausted, timedOut } from '../dial-errors.ts'
import type { Target } from '../target.ts'
import { aggregate } from './aggregate.ts'
import { connectClient } from './client.ts'
import { type CollectionEntry, listCollections, withinBytes } from './collections.ts'
import { type PageBounds, readPage, rememberPlain } from './documents.ts'
import type { BSON } from './driver.ts'
import { isLoss, isWaitTimeout, translate } from './errors.ts'
import { watchOutage } from './outage.ts'
import type { Pipeline } from './pipeline.ts'
import { type EjsonMode, toRelaxed } from './values.ts'

export interface DatabaseEntry {
  readonly name: string
  readonly size_on_disk: number
  readonly empty: boolean
}

/** Where a page begins: so many documents after an `_id` (`idToText`; '' is before the first), or in a view or a time series after a count alone. */
export type Position = { readonly id: string; readonly skip: number } | { readonly skip: number }

export interface DocumentPage {
  /** Extended JSON text, one a document. */
  readonly documents: readonly string[]
  /** Where the next page begins, or `null` after the last. */
  readonly next: Position | null
}

export interface DocumentQuery {
  readonly limit: number
  readonly mode: EjsonMode
  readonly position?: Position | undefined
}

export interface AggregateQuery {
  readonly pipeline: Pipeline
  readonly limit: number
  readonly mode: EjsonMode
}

export interface Aggregated {
  /** Extended JSON text, one a document. */
  readonly documents: readonly string[]
  /** Whether the pipeline gives more than the limit. */
  readonly truncated: boolean
}

/** A pool of connections to a deployment. An empty database name means the registered one. */
export interface MongoSession extends Session {
  databases(call: Call): Promise<readonly DatabaseEntry[]>
  collections(database: string, call: Call): Promise<readonly CollectionEntry[]>
  /** A page in order of `_id`, of any type; of a view or a time series, in its own order. `RESULT_TOO_LARGE` above `maxResponseBytes`. */
  documents(database: string, collection: string, query: DocumentQuery, call: Call): Promise<DocumentPage>
  /** What a pipeline gives, in its own order; nothing where the collection is not there. `RESULT_TOO_LARGE` as for `documents`. */
  aggregate(database: string, collection: string, query: AggregateQuery, call: Call): Promise<Aggregated>
  /** `dbStats` of a database, as relaxed values. */
  stats(database: string, call: Call): Promise<Readonly<Record<string, unknown>>>
}

// The server gives up before the caller does, but not at once where there is little time.
const deadlineReserveMs = 500
const deadlineReserveShare = 0.25

const maxNameLength = 128

export async function openSession(target: Target, limits: Limits, call: Call): Promise<MongoSession> {
  const { client, members } = await connectClient(target, limits, call)
  let closed = false
  let lost = false
  let running = 0
  let answeredAt = Number.NEGATIVE_INFINITY
  const plain = rememberPlain()
  const outage = watchOutage(client, () => {
    lost = true
  })
  const close = async () => {
    closed = true
    await client.close()
  }
  const session: MongoSession = {
    get closed() {
      return closed || lost || members.refusal !== undefined
    },
    async ping(pinging) {
      await command('admin', { ping: 1 }, pinging)
    },
    info: (asking) => readInfo(asking, true),
    rights: (asking) => readInfo(asking, false),
    async databases(asking) {
      const { databases } = await command('admin', { listDatabases: 1, authorizedDatabases: true }, asking)
      return withinBytes(
        (databases as BSON.Document[]).map((entry) => ({
          name: String(entry['name']),
          size_on_disk: Number(entry['sizeOnDisk'] ?? 0),
          empty: Boolean(entry['empty']),
        })),
        limits.maxResponseBytes,
      )
    },
    collections: (database, asking) =>
      run(asking, () =>
        listCollections(client.db(nameOf(database)), {
          maxBytes: limits.maxResponseBytes,
          maxTimeMS: timeOf(asking),
          signal: asking.signal,
        }),
      ),
    documents: (database, collection, query, asking) =>
      run(asking, async () => readPage(client.db(nameOf(database)), collection, query, boundsOf(asking), plain)),
    aggregate: (database, collection, query, asking) =>
      run(asking, async () => aggregate(client.db(nameOf(database)), collection, query, boundsOf(asking))),
    async stats(database, asking) {
      const {
        ok: _ok,
        $clusterTime: _time,
        operationTime: _operation,
        ...figures
      } = await command(nameOf(database), { dbStats: 1 }, asking)
      return withinBytes(toRelaxed(figures) as Readonly<Record<string, unknown>>, limits.maxResponseBytes)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
  try {
    await session.ping(call)
  } catch (error) {
    void close().catch(() => undefined)
    throw error
  }
  return session

  function boundsOf(asking: Call): PageBounds {
    return { maxBytes: limits.maxResponseBytes, timeMs: () => timeOf(asking), signal: asking.signal }
  }

  function nameOf(database: string): string {
    const name = database || target.database
    if (name === '') throw invalid('databaseName', 'is required: the registered connection names no database')
    return name
  }

  function command(database: string, document: BSON.Document, asking: Call): Promise<BSON.Document> {
    return run(asking, () =>
      client.db(database).command({ ...document, maxTimeMS: timeOf(asking) }, { signal: asking.signal }),
    )
  }

  async function run<T>({ signal }: Call, work: () => Promise<T>): Promise<T> {
    running += 1
    const queued = running > limits.maxConnections
    const began = performance.now()
    try {
      const result = await untilAborted(outage.during(work()), signal)
      answeredAt = performance.now()
      return result
    } catch (error) {
      if (error instanceof Error && error.name === 'MongoServerError') answeredAt = performance.now()
      // The server answers others meanwhile: it was a place in the pool that this one waited for.
      if (signal.aborted && queued && answeredAt > began) throw poolExhausted(error)
      lost ||= isLoss(error)
      if (members.refusal) throw members.refusal
      // With places left in the pool, it was the server that gave no connection.
      const silent = isWaitTimeout(error) && running <= limits.maxConnections
      if (signal.aborted || silent) throw timedOut('MongoDB did not answer in time.', error)
      throw translate(error)
    } finally {
      running -= 1
    }
  }

  // Of the registered database, or of all the user may see.
  async function sizeOf(asking: Call): Promise<number> {
    if (target.database === '')
      return (await session.databases(asking)).reduce((sum, { size_on_disk }) => sum + size_on_disk, 0)
    return Number((await command(target.database, { dbStats: 1 }, asking))['totalSize'])
  }

  async function readInfo(asking: Call, isSized: boolean): Promise<ServerInfo> {
    const [build, greeting] = await Promise.all([
      command('admin', { buildInfo: 1 }, asking),
      command('admin', { hello: 1 }, asking),
    ])
    const status = await command('admin', { serverStatus: 1, repl: 0, metrics: 0, locks: 0 }, asking).catch(
      () => undefined,
    )
    const size = isSized ? await sizeOf(asking).catch(() => null) : null
    const hosts = greeting['hosts'] as readonly string[] | undefined
    return {
      product: 'MongoDB',
      version: String(build['version']).slice(0, maxNameLength),
      uptime_seconds: status === undefined ? null : Number(status['uptime']),
      size_bytes: size,
      role: greeting['msg'] === 'isdbgrid' ? 'mongos' : greeting['isWritablePrimary'] ? 'primary' : 'secondary',
      engine: {
        replica_set: greeting['setName'] === undefined ? null : String(greeting['setName']).slice(0, maxNameLength),
        hosts: hosts?.length ?? 1,
        connections: status === undefined ? null : Number(status['connections']?.current),
      },
      warnings:
        status === undefined
          ? ["The user's roles do not allow serverStatus, so uptime and connections can not be shown."]
          : [],
    }
  }
}

function timeOf(call: Call): number {
  const left = remainingMs(call)
  return Math.max(1, Math.floor(left - Math.min(deadlineReserveMs, left * deadlineReserveShare)))
}
