import { access, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { installDebianPackage } from '#test/support/debian.ts'
import { reportMissing } from '#test/support/environment.ts'

const oldest = 10
const requirements = join(import.meta.dir, 'schemathesis.txt')
const cacheFolder = join(import.meta.dir, '../../.cache')
const remedy = `Python 3.${oldest} or newer with pip`

/** How schemathesis is run: a command line and what it needs in its environment. */
export interface Schemathesis {
  readonly command: readonly [string, ...string[]]
  readonly env: Readonly<Record<string, string>>
}

/**
 * Schemathesis as `schemathesis.txt` pins it by hash, installed once into `.cache`. Null, or an error with `CI=true`,
 * without Python 3.10 and pip. The file is written by
 * `uv pip compile --universal --generate-hashes --only-binary :all: --python-version 3.10`.
 */
export async function findSchemathesis(): Promise<Schemathesis | null> {
  const python = (await findPython()) ?? ((await installDebianPackage('python3-pip')) ? await findPython() : null)
  if (python === null) return reportMissing('schemathesis', remedy)
  const version = /^schemathesis==(\S+)/m.exec(await readFile(requirements, 'utf8'))?.[1]
  const folder = join(cacheFolder, `schemathesis-${version}-py3.${python.minor}`)
  if (!(await exists(folder)) && !(await install(python.command, folder))) return reportMissing('schemathesis', remedy)
  return {
    command: [python.command, '-m', 'schemathesis.cli'],
    env: { PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1', PYTHONUTF8: '1', NO_COLOR: '1' },
  }
}

/** Made beside its place and renamed into it: runs that start together take whichever is first. */
async function install(python: string, folder: string): Promise<boolean> {
  console.error('installing schemathesis with pip')
  await mkdir(cacheFolder, { recursive: true })
  const made = await mkdtemp(`${folder}.`)
  try {
    const pinned = ['--no-deps', '--only-binary', ':all:', '--require-hashes']
    const child = Bun.spawn(
      [python, '-m', 'pip', 'install', '--quiet', ...pinned, '--target', made, '-r', requirements],
      {
        env: { ...process.env, PIP_ROOT_USER_ACTION: 'ignore', PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1' },
        stdin: 'ignore',
        stdout: 'ignore',
        stderr: 'inherit',
      },
    )
    if ((await child.exited) !== 0) return false
    await rename(made, folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
    return true
  } finally {
    await rm(made, { recursive: true, force: true })
  }
}

async function findPython(): Promise<{ readonly command: string; readonly minor: number } | null> {
  for (const name of ['python3', 'python']) {
    const command = Bun.which(name)
    if (command === null) continue
    const child = Bun.spawn([command, '-c', 'import pip, sys; print(sys.version_info[0], sys.version_info[1])'], {
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'ignore',
    })
    const [major, minor] = (await child.stdout.text()).split(' ').map(Number)
    if ((await child.exited) === 0 && major === 3 && minor !== undefined && minor >= oldest) return { command, minor }
  }
  return null
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
