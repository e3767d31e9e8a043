import { makeCertificates } from './certificates.ts'
import type { Certificates } from './certificates.ts'
import { findCommand } from './debian.ts'
import { reportMissing } from './environment.ts'
import { startMongo, startMongoAuth, useMongo } from './mongo-server.ts'
import type { MongoAuthStore, MongoStore } from './mongo-server.ts'
import { findMongod } from './mongod-binary.ts'
import { findPostgres15, findPostgres18 } from './postgres-binaries.ts'
import { startPostgres, usePostgres } from './postgres-server.ts'
import type { PostgresStore } from './postgres-server.ts'
import { startReaper } from './reaper.ts'
import { startOpenRedis, startPlainRedis, startRedis, useRedis } from './redis-server.ts'
import type { OpenRedisStore, PlainRedisStore, RedisStore } from './redis-server.ts'
import { makeWorkFolder, postgresOwner } from './server-owner.ts'
import type { Launch } from './server-process.ts'
import { findRedisModules, findValkey } from './valkey-binaries.ts'

export { canary } from './credentials.ts'
export type { Certificates, MongoAuthStore, MongoStore, OpenRedisStore, PlainRedisStore, PostgresStore, RedisStore }

/** The real stores of this run; null is a store this machine cannot have, which `describeWith` skips aloud. */
export interface Stores {
  /** From npm; `TEST_POSTGRES_URL` wins. */
  readonly postgres18: PostgresStore
  /** Debian's. */
  readonly postgres15: PostgresStore | null
  /** From PATH or Debian; `TEST_REDIS_URL` wins. */
  readonly redis: RedisStore | null
  readonly redisOpen: OpenRedisStore | null
  /** Debian's, with RedisJSON and RedisBloom as `findRedisModules` finds them. */
  readonly redisModules: PlainRedisStore | null
  /** As `findValkey` finds it: with TTLs of hash fields. */
  readonly valkey: PlainRedisStore | null
  /** As `findMongod` finds it; `TEST_MONGODB_URL` wins. */
  readonly mongo: MongoStore | null
  readonly mongoAuth: MongoAuthStore | null
  readonly certificates: Certificates
  /** A temporary folder that goes away with the stores, also when the run is killed. */
  readonly folder: string
}

let parsed: Stores | undefined

/** The running stores, as the preload or the runner put them into `TEST_STORES`. */
export function stores(): Stores {
  const json = process.env['TEST_STORES']
  if (json === undefined) throw new Error('no stores are running: test/support/preload.ts starts them')
  parsed ??= JSON.parse(json) as Stores
  return parsed
}

/** Starts every store on free loopback ports; `stop` ends them and removes their folder, as does the end of this process. */
export async function startStores(): Promise<Stores & { stop(): Promise<void> }> {
  const owner = await postgresOwner()
  const folder = await makeWorkFolder(owner)
  const reaper = startReaper(folder)
  const releases: (() => Promise<void>)[] = []
  const stop = async () => {
    await Promise.allSettled(releases.splice(0).map((release) => release()))
    await reaper.stop()
  }
  const certificates = makeCertificates(folder)
  const launch = (name: string): Launch => ({ name, folder, owner, certificates, reaper })
  const given = async <T>(used: Promise<{ store: T; release: () => Promise<void> }>): Promise<T> => {
    const { store, release } = await used
    releases.push(release)
    return store
  }

  const { TEST_POSTGRES_URL, TEST_REDIS_URL, TEST_MONGODB_URL } = process.env
  const redisServer = findRedisServer()
  const mongod = findMongod()
  const starting = [
    TEST_POSTGRES_URL === undefined
      ? findPostgres18(owner).then((binDir) => startPostgres({ ...launch('postgres18'), binDir }))
      : given(usePostgres(TEST_POSTGRES_URL)),
    findPostgres15().then(whenFound((binDir) => startPostgres({ ...launch('postgres15'), binDir }))),
    TEST_REDIS_URL === undefined
      ? redisServer.then(whenFound((command) => startRedis({ ...launch('redis'), command })))
      : given(useRedis(TEST_REDIS_URL)),
    redisServer.then(whenFound((command) => startOpenRedis({ ...launch('redis-open'), command }))),
    redisServer.then(
      whenFound(async (command) => {
        const modules = await findRedisModules()
        return modules === null ? null : startPlainRedis({ ...launch('redis-modules'), command, modules })
      }),
    ),
    findValkey().then(whenFound((command) => startPlainRedis({ ...launch('valkey'), command }))),
    TEST_MONGODB_URL === undefined
      ? mongod.then(whenFound((command) => startMongo({ ...launch('mongo'), command })))
      : given(useMongo(TEST_MONGODB_URL)),
    mongod.then(whenFound((command) => startMongoAuth({ ...launch('mongo-auth'), command }))),
    certificates,
  ] as const
  try {
    const [postgres18, postgres15, redis, redisOpen, redisModules, valkey, mongo, mongoAuth, made] =
      await Promise.all(starting)
    const redises = { redis, redisOpen, redisModules, valkey }
    return { postgres18, postgres15, ...redises, mongo, mongoAuth, certificates: made, folder, stop }
  } catch (error) {
    await Promise.allSettled(starting)
    await stop()
    throw error
  }
}

async function findRedisServer(): Promise<string | null> {
  const command = await findCommand('redis-server', 'redis-server')
  return command ?? reportMissing('Redis', 'as root on Debian, apt-get install redis-server')
}

function whenFound<T>(start: (path: string) => Promise<T>): (path: string | null) => Promise<T | null> {
  return async (path) => (path === null ? null : start(path))
}
