import { randomUUID } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { codeOf } from '#src/errors.ts'

/** Who holds a lock; `started` tells a process from a later one with its pid, and is null where the system has no `/proc`. */
export interface Holder {
  readonly pid: number
  readonly started: string | null
  readonly host: string
}

/** A lock held until `release()`, or until its process ends. */
export interface LockFile {
  release(): void
}

/** Thrown by `takeLock` when somebody holds it. */
export class LockHeldError extends Error {
  override readonly name = 'LockHeldError'
  readonly holder: Holder | undefined

  constructor(path: string, holder: Holder | undefined) {
    super(`${path} is held by ${holder === undefined ? 'an unknown process' : `process ${holder.pid}`}`)
    this.holder = holder
  }
}

const heartbeatMs = 2000

/**
 * Takes the lock at `path`, from a holder that is gone too, or throws `LockHeldError`.
 * On this machine a holder is judged by its pid and start time; elsewhere (another host or container on the same disk)
 * by its heartbeat: it is gone when the file's time has stood still for `staleMs`, which is waited for.
 */
export async function takeLock(path: string, staleMs = 10_000): Promise<LockFile> {
  const text = JSON.stringify(thisProcess())
  for (;;) {
    const judged = readIfThere(path)
    if (judged !== undefined && (await isHeld(path, judged, staleMs))) throw new LockHeldError(path, parse(judged))

    // Who claims first and then looks for others can miss nobody: of two, one at least sees the other and steps back.
    const claim = `${path}.${randomUUID()}`
    writeDurably(claim, text)
    const isAlone = !hasOtherClaim(path, claim, staleMs)
    if (isAlone && readIfThere(path) === judged && renamed(claim, path)) break
    rmSync(claim, { force: true })
    await Bun.sleep(10 + Math.random() * 40)
  }
  const heartbeat = setInterval(() => beat(path), heartbeatMs)
  heartbeat.unref()
  let isHeldByUs = true
  return {
    release() {
      clearInterval(heartbeat)
      if (isHeldByUs && readIfThere(path) === text) rmSync(path, { force: true })
      isHeldByUs = false
    },
  }
}

async function isHeld(path: string, judged: string, staleMs: number): Promise<boolean> {
  const holder = parse(judged)
  const quietMs = Date.now() - timeOf(path)
  if (holder !== undefined && holder.host === thisProcess().host) {
    const started = startOf(holder.pid)
    if (started === undefined) return false
    if (started !== null && started === holder.started) return true
    if (started !== null && holder.started !== null && quietMs > staleMs) return false
  }
  return stirs(path, staleMs)
}

/** Whether the file's time changes, or the file itself goes, within `staleMs`: clocks of two hosts are not compared. */
async function stirs(path: string, staleMs: number): Promise<boolean> {
  const before = timeOf(path)
  const end = performance.now() + staleMs
  while (performance.now() < end) {
    await Bun.sleep(Math.min(200, staleMs / 4))
    if (timeOf(path) !== before) return readIfThere(path) !== undefined
  }
  return false
}

/** A claim lives for milliseconds; an older one is what a killed process left, and a process that slept finds its own gone. */
function hasOtherClaim(path: string, own: string, staleMs: number): boolean {
  const folder = dirname(path)
  const others = readdirSync(folder)
    .filter((name) => name.startsWith(`${basename(path)}.`) && name !== basename(own))
    .map((name) => join(folder, name))
  for (const other of others) if (Math.abs(Date.now() - timeOf(other)) > staleMs) rmSync(other, { force: true })
  return others.some((other) => readIfThere(other) !== undefined)
}

function renamed(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

function beat(path: string): void {
  const now = new Date()
  try {
    utimesSync(path, now, now)
  } catch {
    // A disk in trouble: the pid still says that we live, and the registry will say the rest.
  }
}

function writeDurably(path: string, text: string): void {
  const file = openSync(path, 'wx', 0o600)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function timeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function parse(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && 'pid' in value ? (value as Holder) : undefined
  } catch {
    return undefined
  }
}

function thisProcess(): Holder {
  return { pid: process.pid, started: startOf(process.pid) ?? null, host: hostWithPidNamespace() }
}

/** Containers may share a host name, never a pid namespace: in another one a pid says nothing. */
function hostWithPidNamespace(): string {
  try {
    return `${hostname()} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return hostname()
  }
}

/** The boot and the tick a process began at: undefined when there is none (or a zombie), null when it can't be known. */
function startOf(pid: number): string | null | undefined {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return undefined
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the command's name and may hold spaces and brackets: count from behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${fields[19]}`
  } catch {
    return null
  }
}
