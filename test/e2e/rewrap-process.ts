import { join } from 'node:path'

const script = join(import.meta.dir, '..', '..', 'scripts', 'rewrap.ts')

export interface RewrapRun {
  readonly code: number
  readonly killed: boolean
  readonly errors: string
  /** The last line of standard output. */
  readonly last: string
  readonly output: string
}

export interface RewrapProcess {
  readonly done: Promise<RewrapRun>
  kill(): void
}

/** `bun run rewrap` in a process of its own, which inherits nothing but PATH. */
export function startRewrap(env: Readonly<Record<string, string>>, ...args: readonly string[]): RewrapProcess {
  const child = Bun.spawn([process.execPath, script, ...args], {
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const done = Promise.all([child.exited, child.stdout.text(), child.stderr.text()]).then(([code, output, errors]) => ({
    code,
    killed: child.signalCode === 'SIGKILL',
    errors,
    last: output.trimEnd().split('\n').at(-1) ?? '',
    output,
  }))
  return { done, kill: () => child.kill('SIGKILL') }
}

/** The same, run to its end. */
export const runRewrap = (env: Readonly<Record<string, string>>, ...args: readonly string[]) =>
  startRewrap(env, ...args).done
