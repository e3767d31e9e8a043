import { randomBytes } from 'node:crypto'
import { MongoClient } from 'mongodb'
import postgres from 'postgres'
import { migrate } from '#src/registry/migrate.ts'
import { startStores, type Stores, stores as runningStores } from '#test/support/stores.ts'
import { insertDatabases } from './idle-databases.ts'
import { type BenchServer, type Keys, makeKeys, startBunApi } from './server.ts'

/** A database of the product's own, made for one server. */
export interface Registry extends AsyncDisposable {
  readonly url: string
}

/** Ids of the registered databases by engine; a store that this machine lacks has none. */
export interface Ids {
  readonly redis: string | undefined
  readonly mongodb: string | undefined
  readonly postgres: string
}

/** A server over a registry of its own with one database of each kind. */
export interface Stage {
  readonly server: BenchServer
  readonly keys: Keys
  readonly registry: Registry
  readonly ids: Ids
  /** By store, as it says itself. */
  readonly versions: Readonly<Record<string, string>>
}

const mongoDatabase = 'bench'
export const mongoCollection = 'items'
export const redisKey = 'bench:key'
const documents = 1_000
/** For databases that nobody connects to. */
export const idleUrl = 'redis://reader:password@redis.internal:6379/0'
const redisKeyTtlMs = 3_600_000
/** As many databases as the list is asked for. */
export const pageSize = 10

/** The real stores; in a run of the tests the ones that run already. */
export async function openStores(cleanup: AsyncDisposableStack): Promise<Stores> {
  if (process.env['TEST_STORES'] !== undefined) return runningStores()
  console.error('starting the stores')
  const { stop, ...stores } = await startStores()
  cleanup.defer(stop)
  return stores
}

/** A migrated registry: a start that is measured finds it as every start but the first does. */
export async function createRegistry({ postgres18: store }: Stores): Promise<Registry> {
  const name = `bench_${randomBytes(6).toString('hex')}`
  const admin = postgres({ ...store, username: store.user, max: 1, onnotice: () => undefined })
  await admin.unsafe(`create database ${name}`)
  const url = new URL(store.url)
  url.pathname = `/${name}`
  const sql = postgres(url.href, { max: 1, onnotice: () => undefined })
  await migrate(sql)
  await sql.end()
  return {
    url: url.href,
    async [Symbol.asyncDispose]() {
      await admin.unsafe(`drop database if exists ${name} with (force)`)
      await admin.end()
    },
  }
}

export async function openStage(stores: Stores, folder: string, cleanup: AsyncDisposableStack): Promise<Stage> {
  const registry = cleanup.use(await createRegistry(stores))
  const keys = makeKeys()
  const server = cleanup.use(await startBunApi(registry.url, keys, folder))
  const send = clientOf(server)
  const mongoUrl = stores.mongo === null ? null : withDatabase(stores.mongo.url)
  const register = async (type: string, connectionString: string) => {
    const { id } = await send('/databases', { projectRef: 'default', name: `bench-${type}`, type, connectionString })
    return String(id)
  }
  const ids = {
    postgres: await register('postgres', stores.postgres18.url),
    redis: stores.redis === null ? undefined : await register('redis', stores.redis.url),
    mongodb: mongoUrl === null ? undefined : await register('mongodb', mongoUrl),
  }
  const registered = Object.values(ids).filter((id) => id !== undefined)
  await insertDatabases({
    registryUrl: registry.url,
    keys,
    count: pageSize - registered.length,
    connectionString: idleUrl,
  })
  if (ids.redis !== undefined)
    await send(`/redis/${ids.redis}/set`, { key: redisKey, value: 'hello', ttlMs: redisKeyTtlMs })
  if (mongoUrl !== null) cleanup.use(await fillMongo(mongoUrl))
  const versions: Record<string, string> = {}
  for (const [name, id] of Object.entries(ids))
    if (id !== undefined) versions[name] = String((await send(`/databases/${id}/info`))['version'])
  return { server, keys, registry, ids, versions }
}

/** The API of a server; throws on any answer that is not 2xx. */
export function clientOf({ origin, headers }: BenchServer) {
  return async (path: string, body?: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>> => {
    const url = `${origin}/api/platform${path}`
    const json = { method: 'POST', body: JSON.stringify(body) }
    const answer = await fetch(url, {
      headers: { ...headers, 'content-type': 'application/json' },
      ...(body === undefined ? {} : json),
    })
    if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${await answer.text()}`)
    return (await answer.json()) as Readonly<Record<string, unknown>>
  }
}

function withDatabase(url: string): string {
  return url.replace(/^(mongodb(?:\+srv)?:\/\/[^/?]+)\/?[^?]*/, `$1/${mongoDatabase}`)
}

async function fillMongo(url: string): Promise<AsyncDisposable> {
  const client = await MongoClient.connect(url)
  const collection = client.db(mongoDatabase).collection(mongoCollection)
  await collection.deleteMany({})
  await collection.insertMany(
    Array.from({ length: documents }, (_, index) => ({ number: index, group: index % 10, text: `item ${index}` })),
  )
  return {
    async [Symbol.asyncDispose]() {
      await collection.drop()
      await client.close()
    },
  }
}
