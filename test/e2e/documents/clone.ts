import { chmod, cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { findMongod } from '#test/support/mongod-binary.ts'
import { stores } from '#test/support/stores.ts'
import { root } from './blocks.ts'

/** What a command printed and how it ended. */
export interface Outcome {
  readonly code: number
  readonly output: string
  readonly errors: string
}

/** A clone of this repository that nobody has used, and a user who has nothing. */
export interface Clone extends AsyncDisposable {
  readonly path: string
  /** An empty HOME, `bun` on PATH, how registries and stores are reached, and nothing else of this process. */
  readonly env: Readonly<Record<string, string>>
  /** Runs a line of shell in it to its end. */
  run(line: string, env?: Readonly<Record<string, string>>, cwd?: string): Promise<Outcome>
}

// How a machine reaches registries and trusts them, and which stores it has, is no part of a user's HOME.
const given =
  /^(?:TEST_\w+_(?:URL|BIN)|npm_config_registry|BUN_CONFIG_REGISTRY|https?_proxy|no_proxy|(?:NODE_EXTRA_CA|SSL|PIP)_CERT.*)$/i

/** Clones, with what is not committed yet on top; where git can't (an archive, another user's folder), copies the same files. */
export async function makeClone(): Promise<Clone> {
  const folder = await mkdtemp(join(stores().folder, 'clone-'))
  // PostgreSQL runs out of its `node_modules`, as a user of its own.
  await chmod(folder, 0o711)
  const [path, home, bin] = [join(folder, 'bun-api'), join(folder, 'home'), join(folder, 'bin')]
  await Promise.all([mkdir(home), mkdir(bin)])
  // `bun` of the documents is this one; `npx -y bun@…` fetches its own.
  await symlink(process.execPath, join(bin, 'bun'))
  const git = Bun.which('git')
  if (git !== null) await execute([git, 'clone', '--quiet', root, path], folder, { HOME: home })
  for (const file of await committable(git)) {
    await mkdir(dirname(join(path, file)), { recursive: true })
    await cp(join(root, file), join(path, file)).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      await rm(join(path, file), { force: true })
    })
  }
  const mongod = await findMongod()
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => given.test(name))),
    // A large download that other tests made: in a clone it would be made again.
    ...(mongod === null ? {} : { TEST_MONGOD_BIN: mongod }),
    PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    HOME: home,
    // The documents' port may be in use.
    PORT: '0',
  }
  return {
    path,
    env,
    run: (line, more = {}, cwd = path) => execute(['bash', '-euc', line], cwd, { ...env, ...more }),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

/** Runs a command to its end, in an environment of its own. */
export async function execute(
  command: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const child = Bun.spawn([...command], { cwd, env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { code, output, errors }
}

/** The files that a commit of everything would have. */
async function committable(git: string | null): Promise<readonly string[]> {
  const list = ['-c', `safe.directory=${root}`, 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
  const { code, output } = git === null ? { code: 1, output: '' } : await execute([git, ...list], root, {})
  if (code === 0) return output.split('\0').filter((file) => file !== '')
  const ignored = /(?:^|\/)(?:node_modules|\.data|\.cache|dist|\.git)\/|\.log$/
  return [...new Bun.Glob('**/*').scanSync({ cwd: root, dot: true })].filter((file) => !ignored.test(file))
}
