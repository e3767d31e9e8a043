import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import type { Document } from 'mongodb'
import { testPassword } from './credentials.ts'
import { makeOwnedFolder } from './server-owner.ts'
import { startServer } from './server-process.ts'
import type { Launch } from './server-process.ts'

/** A real replica set of one, without users: transactions, change streams and, where it is ours, `failCommand` work. */
export interface MongoStore {
  readonly host: string
  readonly port: number
  /** Names no database. */
  readonly url: string
  readonly replicaSet: string
  /** To freeze the process; null where `TEST_MONGODB_URL` names the server. */
  readonly pid: number | null
}

/** A user of the server with users. */
export interface MongoUser {
  readonly username: string
  readonly password: string
  readonly authSource: string
}

/** A real standalone server with users, plain and TLS on one port, `failCommand` for `root`; always a process of ours. */
export interface MongoAuthStore {
  readonly host: string
  readonly port: number
  /** PEM of the CA that vouches for the server's certificate; it asks clients for none. */
  readonly tlsCa: string
  readonly users: {
    readonly root: MongoUser
    /** `readWrite` on the database `app`. */
    readonly app: MongoUser
    /** `read` on the database `app`: no serverStatus, and listDatabases shows `app` alone. */
    readonly limited: MongoUser
  }
  /** As `root`; `tlsUrl` needs `tlsCa` beside it. */
  readonly url: string
  readonly tlsUrl: string
  readonly pid: number
}

type MongoLaunch = Launch & { readonly command: string }

const host = '127.0.0.1'
const replicaSet = 'rs0'
const readyWithinMs = 20_000
const smallFlags = [
  '--quiet',
  '--nounixsocket',
  '--wiredTigerCacheSizeGB=0.25',
  '--setParameter=diagnosticDataCollectionEnabled=false',
  '--setParameter=enableTestCommands=1',
] as const

/** Starts a replica set of one, and returns when it is a writable primary. */
export async function startMongo(launch: MongoLaunch): Promise<MongoStore> {
  const { pid, port } = await startMongod(launch, async () => ['--replSet', replicaSet, '--oplogSize', '64'])
  const members = [{ _id: 0, host: `${host}:${port}` }]
  await runCommand(directUrl(port), { replSetInitiate: { _id: replicaSet, members } })
  const url = `mongodb://${host}:${port}/?replicaSet=${replicaSet}`
  // The driver sends it to a primary alone, and waits for one.
  await runCommand(url, { ping: 1 })
  return { host, port, url, replicaSet, pid }
}

/** The replica set that `TEST_MONGODB_URL` names, with its user where it has any; `host` and `port` are its first member's. */
export async function useMongo(url: string): Promise<{ store: MongoStore; release: () => Promise<void> }> {
  const store = await withClient(url, async (client) => {
    const hello = await client.db('admin').command({ hello: 1 })
    if (typeof hello['setName'] !== 'string') throw new Error('TEST_MONGODB_URL names no replica set')
    const [address] = client.options.hosts
    const found = { host: address?.host ?? host, port: address?.port ?? 27_017 }
    return { ...found, url, replicaSet: hello['setName'], pid: null }
  })
  return { store, release: async () => {} }
}

/** Starts a standalone server with users and TLS. */
export async function startMongoAuth(launch: MongoLaunch): Promise<MongoAuthStore> {
  const { ca, server } = await launch.certificates
  const { pid, port } = await startMongod(launch, async (folder) => {
    const [certFile, caFile] = [join(folder, 'server.pem'), join(folder, 'ca.pem')]
    await Promise.all([
      writeFile(certFile, `${server.cert}${server.key}`, { mode: 0o600 }),
      writeFile(caFile, ca, { mode: 0o600 }),
    ])
    const files = ['--tlsCertificateKeyFile', certFile, '--tlsCAFile', caFile]
    return ['--auth', '--tlsMode', 'allowTLS', ...files, '--tlsAllowConnectionsWithoutCertificates']
  })
  const user = (username: string, authSource: string) => ({ username, password: testPassword(), authSource })
  const users = { root: user('root', 'admin'), app: user('app', 'app'), limited: user('limited', 'app') }
  const { username, password, authSource } = users.root
  const url = `mongodb://${username}:${password}@${host}:${port}/?authSource=${authSource}`
  // The localhost exception lets the first user be made without one, and ends there.
  await withClient(directUrl(port), (client) => createUser(client, users.root, { role: 'root', db: 'admin' }))
  await withClient(url, async (client) => {
    await createUser(client, users.app, { role: 'readWrite', db: 'app' })
    await createUser(client, users.limited, { role: 'read', db: 'app' })
  })
  return { host, port, tlsCa: ca, users, url, tlsUrl: `${url}&tls=true`, pid }
}

async function startMongod(launch: MongoLaunch, settings: (folder: string) => Promise<readonly string[]>) {
  const folder = await makeOwnedFolder(join(launch.folder, launch.name), null)
  const dbPath = await makeOwnedFolder(join(folder, 'data'), null)
  const flags = ['--bind_ip', host, '--dbpath', dbPath, ...smallFlags, ...(await settings(folder))]
  return startServer(
    {
      ...launch,
      folder,
      owner: null,
      // The data is thrown away, and a primary that may end politely waits for its clients.
      stopSignal: 'SIGKILL',
      command: (port) => [launch.command, '--port', `${port}`, ...flags],
      probe: (port) => runCommand(directUrl(port), { ping: 1 }, 1_000),
    },
    launch.reaper,
  )
}

async function createUser(client: MongoClient, user: MongoUser, role: { readonly role: string; readonly db: string }) {
  await client.db(user.authSource).command({ createUser: user.username, pwd: user.password, roles: [role] })
}

function directUrl(port: number): string {
  return `mongodb://${host}:${port}/?directConnection=true`
}

async function runCommand(url: string, document: Document, withinMs = readyWithinMs): Promise<void> {
  await withClient(url, async (client) => void (await client.db('admin').command(document)), withinMs)
}

async function withClient<T>(
  url: string,
  run: (client: MongoClient) => Promise<T>,
  serverSelectionTimeoutMS = readyWithinMs,
): Promise<T> {
  await using client = new MongoClient(url, { serverSelectionTimeoutMS })
  return await run(client)
}
