import { chmodSync, copyFileSync, linkSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { contextFilter, type Instruction, parseDockerfile } from './dockerfile.ts'

/** The user `bun` of the base image. */
export const bunUser = { uid: 1000, gid: 1000 } as const

/** What a container would be started from. Paths of the image lie below `root`. */
export interface Image extends AsyncDisposable {
  readonly root: string
  readonly workdir: string
  readonly env: Readonly<Record<string, string>>
  readonly user: string
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly healthcheck: readonly string[]
}

type Draft = { -readonly [Key in Exclude<keyof Image, typeof Symbol.asyncDispose>]: Image[Key] }

/**
 * Carries out a repository's Dockerfile without a container engine: its `.dockerignore`, COPY, RUN, WORKDIR, ENV and USER, each stage in a
 * clean folder that holds nothing but this Bun, as its base image does. Absolute paths mean that folder in COPY and WORKDIR only.
 */
export async function buildImage(repository: string): Promise<Image> {
  const folder = await mkdtemp(join(tmpdir(), 'bun-api-image-'))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rm(folder, { recursive: true, force: true }))
  // mkdtemp keeps others out, and the image's user is another one.
  chmodSync(folder, 0o755)
  const context = join(folder, 'context')
  await copyContext(repository, context)

  const drafts = new Map<string, Draft>()
  let last: Draft | undefined
  for (const [index, { alias, instructions }] of parseDockerfile(await textOf(repository, 'Dockerfile')).entries()) {
    const draft = await startStage(join(folder, `stage-${index}`))
    for (const instruction of instructions) await carryOut(instruction, draft, context, drafts)
    drafts.set(alias ?? String(index), draft)
    last = draft
  }
  if (last === undefined) throw new Error('the Dockerfile has no stage')
  const owned = cleanup.move()
  return { ...last, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function textOf(repository: string, file: string): Promise<string> {
  return Bun.file(join(repository, file)).text()
}

async function copyContext(repository: string, context: string): Promise<void> {
  const isSent = contextFilter(await textOf(repository, '.dockerignore'))
  for (const name of await readdir(repository)) {
    if (!isSent(name)) continue
    const filter = (path: string) => isSent(path.slice(repository.length + 1))
    await cp(join(repository, name), join(context, name), { recursive: true, filter })
  }
}

async function startStage(root: string): Promise<Draft> {
  const bin = join(root, 'usr/local/bin')
  await mkdir(bin, { recursive: true })
  try {
    linkSync(process.execPath, join(bin, 'bun'))
  } catch {
    copyFileSync(process.execPath, join(bin, 'bun'))
  }
  // The base image's user has a name, here it has a number; and whoever is not root owns all there is.
  const { uid, gid } = bunUser
  const change = process.getuid?.() === 0 ? `exec ${Bun.which('chown')} ${uid}:${gid} "$@"` : 'exit 0'
  await writeFile(join(bin, 'chown'), `#!/bin/sh\n[ "$1" = bun:bun ] || exit 1\nshift\n${change}\n`, { mode: 0o755 })
  const env = { PATH: `${bin}:/usr/bin:/bin` }
  return { root, workdir: root, env, user: 'root', entrypoint: [], command: [], healthcheck: [] }
}

async function carryOut(
  { name, flags, rest }: Instruction,
  draft: Draft,
  context: string,
  stages: ReadonlyMap<string, Draft>,
): Promise<void> {
  switch (name) {
    case 'WORKDIR':
      draft.workdir = within(draft, rest)
      await mkdir(draft.workdir, { recursive: true })
      return
    case 'ENV':
      draft.env = { ...draft.env, ...Object.fromEntries(rest.split(/\s+/).map((pair) => pair.split(/=(.*)/s, 2))) }
      return
    case 'USER':
      draft.user = rest
      return
    case 'ENTRYPOINT':
      draft.entrypoint = JSON.parse(rest) as string[]
      return
    case 'CMD':
      draft.command = JSON.parse(rest) as string[]
      return
    case 'HEALTHCHECK':
      draft.healthcheck = JSON.parse(rest.replace(/^CMD\s+/, '')) as string[]
      return
    case 'EXPOSE':
      return
    case 'RUN':
      return runIn(draft, rest)
    case 'COPY':
      return copyInto(draft, rest, flags['from'] === undefined ? context : stages.get(flags['from'])?.root)
    default:
      throw new Error(`the test does not know ${name}`)
  }
}

async function runIn(draft: Draft, command: string): Promise<void> {
  // The network, the registry and the cache of the shell this runs in.
  const env = { ...process.env, ...draft.env }
  const child = Bun.spawn(['sh', '-ec', command], {
    cwd: draft.workdir,
    env,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  if (code !== 0) throw new Error(`RUN ${command} ended with ${code}:\n${output}${errors}`)
}

/** Files go under their names into a folder, of a folder its content goes to the destination, as in Docker. */
async function copyInto(draft: Draft, rest: string, from: string | undefined): Promise<void> {
  if (from === undefined) throw new Error(`COPY ${rest}: there is no such stage`)
  const paths = rest.split(/\s+/)
  const destination = paths.pop() ?? ''
  const target = within(draft, destination)
  for (const path of paths) {
    const source = join(from, path)
    const intoFolder = !(await stat(source)).isDirectory() && (paths.length > 1 || /(?:^|\/)\.?$/.test(destination))
    const to = intoFolder ? join(target, basename(source)) : target
    await mkdir(dirname(to), { recursive: true })
    await cp(source, to, { recursive: true })
  }
}

function within({ root, workdir }: Draft, path: string): string {
  return path.startsWith('/') ? join(root, path) : join(workdir, path)
}
