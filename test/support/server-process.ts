import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { Certificates } from './certificates.ts'
import { storeEnvironment } from './environment.ts'
import { freePorts } from './ports.ts'
import type { Reaper } from './reaper.ts'
import type { Owner } from './server-owner.ts'

const readyWithinMs = 30_000
const attempts = 4

/** What a store's launcher needs beside its own options. */
export interface Launch {
  readonly name: string
  /** The work folder of this run; the server's own folder is made in it. */
  readonly folder: string
  readonly owner: Owner | null
  readonly certificates: Promise<Certificates>
  readonly reaper: Reaper
}

/** How to start one server and how to know that it answers. */
export interface ServerPlan {
  readonly name: string
  readonly folder: string
  readonly owner: Owner | null
  readonly stopSignal: NodeJS.Signals
  /** The command line for these ports; the second is for servers that speak TLS on a port of its own. */
  command(port: number, tlsPort: number): readonly string[] | Promise<readonly string[]>
  /** Connects for real, and rejects until the server answers. */
  probe(port: number): Promise<void>
}

/** A server that answered. */
export interface RunningServer {
  readonly pid: number
  readonly port: number
  readonly tlsPort: number
}

/** Starts a server and waits until it answers; one that ends at once is tried again on other ports. */
export async function startServer(plan: ServerPlan, reaper: Reaper): Promise<RunningServer> {
  const log = join(plan.folder, 'server.log')
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const [port, tlsPort] = await freePorts()
    const child = spawnLogged(await plan.command(port, tlsPort), plan, log)
    reaper.watch(child.pid, plan.stopSignal)
    void child.exited.then(() => reaper.forget(child.pid))
    if (await answers(child, () => plan.probe(port))) return { pid: child.pid, port, tlsPort }
  }
  throw new Error(`${plan.name} did not start:\n${(await Bun.file(log).text()).slice(-2_000)}`)
}

/** Runs a command of a store to its end, and throws with what it wrote when it fails. */
export async function runToEnd(command: readonly string[], owner: Owner | null, cwd: string): Promise<void> {
  const child = Bun.spawn([...command], {
    ...owner,
    cwd,
    env: storeEnvironment,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'pipe',
  })
  const errors = await child.stderr.text()
  if ((await child.exited) !== 0) throw new Error(`${command[0]} failed:\n${errors.slice(-2_000)}`)
}

function spawnLogged(command: readonly string[], { folder, owner }: ServerPlan, log: string): Bun.Subprocess {
  const file = openSync(log, 'a')
  try {
    return Bun.spawn([...command], {
      ...owner,
      cwd: folder,
      env: storeEnvironment,
      stdin: 'ignore',
      stdout: file,
      stderr: file,
    })
  } finally {
    closeSync(file)
  }
}

async function answers(child: Bun.Subprocess, probe: () => Promise<void>): Promise<boolean> {
  const deadline = Date.now() + readyWithinMs
  while (Date.now() < deadline) {
    const answered = await probe().then(
      () => true,
      () => false,
    )
    if (child.exitCode !== null || child.signalCode !== null) return false
    if (answered) return true
    await Bun.sleep(25)
  }
  child.kill('SIGKILL')
  return false
}
