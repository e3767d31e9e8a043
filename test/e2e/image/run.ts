import { readFileSync } from 'node:fs'
import { bunUser, type Image } from './build.ts'

/** A started container, as far as it goes without an engine. */
export interface Container extends AsyncDisposable {
  /** Of the server itself, as this system counts. */
  readonly pid: number
  /** Where it listens, once it does; rejects with what it wrote when it ends before. */
  readonly url: Promise<string>
  readonly exited: Promise<number>
  readonly output: () => string
}

const isRoot = process.getuid?.() === 0
/** Whether processes can be started as the first one of a pid namespace, where a signal without a handler does nothing. */
const hasNamespaces =
  isRoot &&
  Bun.which('setpriv') !== null &&
  Bun.which('unshare') !== null &&
  Bun.spawnSync(['unshare', '--pid', '--fork', '--mount-proc', 'true']).exitCode === 0

/** How a command of the image is started: as its user where we are root, as process 1 where the system lets us. */
function started(image: Image, command: readonly string[], first: boolean) {
  if (!isRoot || image.user === 'root') return { cmd: [...command] }
  const { uid, gid } = bunUser
  if (!first || !hasNamespaces) return { cmd: [...command], uid, gid }
  const namespace = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child=SIGKILL', '--']
  return { cmd: [...namespace, 'setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--', ...command] }
}

/** Starts the image's command with its variables and those given, and nothing of this process. */
export function startContainer(image: Image, env: Readonly<Record<string, string>>): Container {
  const { cmd, ...owner } = started(image, [...image.entrypoint, ...image.command], true)
  const child = Bun.spawn(cmd, {
    ...owner,
    cwd: image.workdir,
    env: { ...image.env, ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  let output = ''
  const { promise: url, resolve, reject } = Promise.withResolvers<string>()
  const read = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder()
    for await (const chunk of stream) {
      output += decoder.decode(chunk, { stream: true })
      const port = /"url":"[^"]*:(\d+)\/","mode"/.exec(output)?.[1]
      if (port !== undefined) resolve(`http://127.0.0.1:${port}`)
    }
  }
  const ended = Promise.all([child.exited, read(child.stdout), read(child.stderr)])
  const exited = ended.then(([code]) => {
    reject(new Error(`the container ended: ${output}`))
    return code
  })
  url.catch(() => undefined)
  return {
    get pid() {
      return cmd[0] === 'unshare' ? onlyChildOf(child.pid) : child.pid
    },
    url,
    exited,
    output: () => output,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** Runs a command in the image to its end, as `docker run` and `docker exec` do. */
export async function runInImage(image: Image, command: readonly string[], env: Readonly<Record<string, string>>) {
  const { cmd, ...owner } = started(image, command, false)
  const child = Bun.spawn(cmd, {
    ...owner,
    cwd: image.workdir,
    env: { ...image.env, ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { code, output, errors }
}

function onlyChildOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim())
}
