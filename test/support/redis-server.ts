import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { Redis } from 'ioredis'
import { testPassword } from './credentials.ts'
import { startServer } from './server-process.ts'
import type { Launch } from './server-process.ts'

/** A real Redis on a plain and a TLS port; `password` is the default user's. */
export interface RedisStore {
  readonly host: string
  readonly port: number
  readonly tlsPort: number
  readonly password: string
  readonly url: string
  readonly tlsUrl: string
  /** PEM of the CA that vouches for the certificate on the TLS port. */
  readonly tlsCa: string
  /** An ACL user with every key and `+@read +@write +@connection`: neither INFO nor CONFIG. */
  readonly limited: { readonly username: string; readonly password: string }
  /** To freeze the process; null where `TEST_REDIS_URL` names the server. */
  readonly pid: number | null
}

/** A real Redis that asks for no password; always a process of ours. */
export interface OpenRedisStore {
  readonly host: string
  readonly port: number
  readonly url: string
  readonly pid: number
}

/** A real server of this protocol with a password and without TLS; always a process of ours. */
export interface PlainRedisStore {
  readonly host: string
  readonly port: number
  readonly password: string
  readonly url: string
  readonly pid: number
}

type RedisLaunch = Launch & { readonly command: string }

const host = '127.0.0.1'
const limitedRights = ['~*', '&*', '+@read', '+@write', '+@connection'] as const

/** Starts a Redis with a password, an ACL user and TLS, which keeps nothing on disk. */
export async function startRedis(launch: RedisLaunch): Promise<RedisStore> {
  const password = testPassword()
  const limited = { username: 'limited', password: testPassword() }
  const { ca, server } = await launch.certificates
  const { pid, port, tlsPort } = await startConfigured(launch, password, async (folder, tlsPort) => {
    const [certFile, keyFile] = [join(folder, 'server.crt'), join(folder, 'server.key')]
    await Promise.all([writeFile(certFile, server.cert), writeFile(keyFile, server.key, { mode: 0o600 })])
    return [
      `requirepass ${password}`,
      `user ${limited.username} on >${limited.password} ${limitedRights.join(' ')}`,
      `tls-port ${tlsPort}`,
      `tls-cert-file ${certFile}`,
      `tls-key-file ${keyFile}`,
      'tls-auth-clients no',
    ]
  })
  const urls = { url: `redis://:${password}@${host}:${port}/0`, tlsUrl: `rediss://:${password}@${host}:${tlsPort}/0` }
  return { host, port, tlsPort, password, ...urls, tlsCa: ca, limited, pid }
}

/** Starts a Redis without a password, which keeps nothing on disk. */
export async function startOpenRedis(launch: RedisLaunch): Promise<OpenRedisStore> {
  const { pid, port } = await startConfigured(launch, '', async () => ['protected-mode no'])
  return { host, port, url: `redis://${host}:${port}/0`, pid }
}

/** Starts one with a password, no TLS, and these modules, which keeps nothing on disk. */
export async function startPlainRedis(
  launch: RedisLaunch & { readonly modules?: readonly string[] },
): Promise<PlainRedisStore> {
  const password = testPassword()
  const lines = [`requirepass ${password}`, ...(launch.modules ?? []).map((path) => `loadmodule ${path}`)]
  const { pid, port } = await startConfigured(launch, password, async () => lines)
  return { host, port, password, url: `redis://:${password}@${host}:${port}/0`, pid }
}

/**
 * The Redis that `TEST_REDIS_URL` names, with the default user's password; its TLS side is `TEST_REDIS_TLS_URL`, or the
 * same address where that is unset, with the CA in the file `TEST_REDIS_CA` (PEM). `release` removes the ACL user again.
 */
export async function useRedis(url: string): Promise<{ store: RedisStore; release: () => Promise<void> }> {
  const { hostname, port, password } = new URL(url)
  const tlsUrl = process.env['TEST_REDIS_TLS_URL'] ?? url.replace(/^redis:/, 'rediss:')
  const caFile = process.env['TEST_REDIS_CA']
  const address = { host: hostname, port: Number(port || 6379), password: decodeURIComponent(password) }
  const limited = { username: `limited_${crypto.randomUUID().slice(0, 8)}`, password: testPassword() }
  const acl = (...args: string[]) => withClient(address, (redis) => redis.call('ACL', ...args))
  await acl('SETUSER', limited.username, 'on', `>${limited.password}`, ...limitedRights)
  const store: RedisStore = {
    ...address,
    tlsPort: Number(new URL(tlsUrl).port || 6379),
    url,
    tlsUrl,
    tlsCa: caFile === undefined ? rootCertificates.join('\n') : await Bun.file(caFile).text(),
    limited,
    pid: null,
  }
  return { store, release: async () => void (await acl('DELUSER', limited.username)) }
}

async function startConfigured(
  launch: RedisLaunch,
  password: string,
  settings: (folder: string, tlsPort: number) => Promise<readonly string[]>,
) {
  const folder = join(launch.folder, launch.name)
  await mkdir(folder, { mode: 0o700 })
  return startServer(
    {
      ...launch,
      folder,
      owner: null,
      stopSignal: 'SIGTERM',
      // A file, not arguments: those show the passwords in the list of processes.
      command: async (port, tlsPort) => {
        const config = join(folder, 'redis.conf')
        const common = [`bind ${host}`, `port ${port}`, `dir ${folder}`, 'save ""', 'appendonly no', 'daemonize no']
        await writeFile(config, [...common, ...(await settings(folder, tlsPort)), ''].join('\n'), { mode: 0o600 })
        return [launch.command, config]
      },
      probe: (port) => withClient({ host, port, password }, async (redis) => void (await redis.ping())),
    },
    launch.reaper,
  )
}

async function withClient<T>(
  address: { readonly host: string; readonly port: number; readonly password: string },
  run: (redis: Redis) => Promise<T>,
): Promise<T> {
  const redis = new Redis({ ...address, lazyConnect: true, retryStrategy: () => null, connectTimeout: 5_000 })
  redis.on('error', () => {})
  try {
    await redis.connect()
    return await run(redis)
  } finally {
    redis.disconnect()
  }
}
