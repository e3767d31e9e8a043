import { join } from 'node:path'

/** Stops servers and removes their folder, also when this process is killed: `bun test --bail` runs no `afterAll`. */
export interface Reaper {
  /** Takes charge of a server's process; `signal` is the one that ends it quickly. */
  watch(pid: number, signal: NodeJS.Signals): void
  /** Gives up a process that has ended by itself: its number may be another's soon. */
  forget(pid: number): void
  /** Stops all of them, removes the folder, and returns when both are done. */
  stop(): Promise<void>
}

/** Starts the reaper in a session of its own, where a Ctrl-C in the terminal does not reach it. */
export function startReaper(folder: string): Reaper {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, 'reaper-process.ts'), folder], {
    stdin: 'pipe',
    stdout: 'ignore',
    stderr: 'inherit',
    detached: true,
  })
  child.unref()
  const tell = (line: string) => {
    child.stdin.write(`${line}\n`)
    child.stdin.flush()
  }
  return {
    watch: (pid, signal) => tell(`+ ${pid} ${signal}`),
    forget: (pid) => tell(`- ${pid}`),
    async stop() {
      child.ref()
      await child.stdin.end()
      await child.exited
    },
  }
}
