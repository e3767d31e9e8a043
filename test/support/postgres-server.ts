import { chmod, chown, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import postgres from 'postgres'
import { testPassword } from './credentials.ts'
import { makeOwnedFolder } from './server-owner.ts'
import type { Owner } from './server-owner.ts'
import { runToEnd, startServer } from './server-process.ts'
import type { Launch } from './server-process.ts'

/** A role that can connect and read the catalog, and owns nothing. */
export interface PostgresRole {
  readonly user: string
  readonly password: string
  readonly url: string
}

/** A real PostgreSQL that takes plain and TLS connections; `user` is a superuser. */
export interface PostgresStore extends PostgresRole {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly reader: PostgresRole
  /** PEM of the CA that vouches for the server's certificate. */
  readonly tlsCa: string
  /** As the server says it: `18.4`. */
  readonly version: string
  /** Of the first process, to freeze it; null where `TEST_POSTGRES_URL` names the server. */
  readonly pid: number | null
}

type Address = Pick<PostgresStore, 'host' | 'port' | 'user' | 'password' | 'database'>

/** Makes a cluster with `initdb` and starts it on a free loopback port. */
export async function startPostgres({ binDir, ...launch }: Launch & { binDir: string }): Promise<PostgresStore> {
  const { owner, reaper } = launch
  const folder = await makeOwnedFolder(join(launch.folder, launch.name), owner)
  const password = testPassword()
  await initialise(binDir, folder, password, owner)
  const { ca, server } = await launch.certificates
  const [certFile, keyFile] = [join(folder, 'server.crt'), join(folder, 'server.key')]
  await Promise.all([writeOwned(certFile, server.cert, owner), writeOwned(keyFile, server.key, owner)])

  const address = (port: number): Address =>
    ({ host: '127.0.0.1', port, user: 'postgres', password, database: 'postgres' }) as const
  const settings = {
    listen_addresses: address(0).host,
    unix_socket_directories: folder,
    ssl: 'on',
    ssl_cert_file: certFile,
    ssl_key_file: keyFile,
    fsync: 'off',
    max_connections: 100,
  }
  const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
  const { pid, port } = await startServer(
    {
      ...launch,
      folder,
      // Immediate shutdown: the data is thrown away, and a fast one waits for backends that a test may have frozen.
      stopSignal: 'SIGQUIT',
      command: (port) => [join(binDir, 'postgres'), '-D', join(folder, 'data'), `--port=${port}`, ...flags],
      probe: (port) => withClient(address(port), async (sql) => void (await sql`select 1`)),
    },
    reaper,
  )
  return describeServer(address(port), 'reader', { tlsCa: ca, pid })
}

/**
 * The PostgreSQL that `TEST_POSTGRES_URL` names: a superuser's URL, TLS on, with the file `TEST_POSTGRES_CA` (PEM) where
 * the system's CAs do not vouch for it. `release` removes the low-rights role again.
 */
export async function usePostgres(url: string): Promise<{ store: PostgresStore; release: () => Promise<void> }> {
  const { hostname, port, username, password, pathname } = new URL(url)
  const caFile = process.env['TEST_POSTGRES_CA']
  const address: Address = {
    host: hostname,
    port: Number(port || 5432),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)) || 'postgres',
  }
  const reader = `reader_${crypto.randomUUID().slice(0, 8)}`
  const tlsCa = caFile === undefined ? rootCertificates.join('\n') : await Bun.file(caFile).text()
  const store = await describeServer(address, reader, { tlsCa, pid: null })
  return { store, release: () => withClient(address, async (sql) => void (await sql`drop role ${sql(reader)}`)) }
}

async function initialise(binDir: string, folder: string, password: string, owner: Owner | null): Promise<void> {
  const passwordFile = join(folder, 'password')
  await writeOwned(passwordFile, password, owner)
  const options = ['--username=postgres', '--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-sync']
  const files = [`--pgdata=${join(folder, 'data')}`, `--pwfile=${passwordFile}`]
  await runToEnd([join(binDir, 'initdb'), ...options, ...files], owner, folder)
  await rm(passwordFile)
}

async function describeServer(
  address: Address,
  readerName: string,
  facts: Pick<PostgresStore, 'tlsCa' | 'pid'>,
): Promise<PostgresStore> {
  const readerPassword = testPassword()
  const version = await withClient(address, async (sql) => {
    await sql.unsafe(`create role "${readerName}" login password '${readerPassword}'`)
    const [row] = await sql<
      { version: string }[]
    >`select split_part(current_setting('server_version'), ' ', 1) as version`
    return row?.version ?? ''
  })
  const role = (user: string, password: string) => ({ user, password, url: urlOf({ ...address, user, password }) })
  return {
    ...address,
    ...role(address.user, address.password),
    ...facts,
    version,
    reader: role(readerName, readerPassword),
  }
}

async function withClient<T>(address: Address, run: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres({ ...address, max: 1, connect_timeout: 5, fetch_types: false, ssl: false })
  try {
    return await run(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

function urlOf({ host, port, user, password, database }: Address): string {
  const [name, secret, path] = [user, password, database].map(encodeURIComponent)
  return `postgres://${name}:${secret}@${host}:${port}/${path}`
}

async function writeOwned(path: string, text: string, owner: Owner | null): Promise<void> {
  await writeFile(path, text, { mode: 0o600 })
  await chmod(path, 0o600)
  if (owner !== null) await chown(path, owner.uid, owner.gid)
}
