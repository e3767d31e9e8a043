import { cpus, release, totalmem, type } from 'node:os'
import { join } from 'node:path'

/** What the figures depend on beside the code. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
}

export function machine(): Machine {
  const cores = cpus()
  return {
    cpu: cores[0]?.model ?? 'unknown',
    cores: cores.length,
    memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    kernel: `${type()} ${release()}`,
  }
}

/** The commit that is measured, `-dirty` where the work tree differs from it; null outside a clone. */
export async function commit(): Promise<string | null> {
  if (Bun.which('git') === null) return null
  const child = Bun.spawn(['git', 'describe', '--always', '--dirty', '--abbrev=10', '--exclude=*'], {
    cwd: join(import.meta.dir, '..'),
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'ignore',
  })
  const text = (await child.stdout.text()).trim()
  return (await child.exited) === 0 && text !== '' ? text : null
}
