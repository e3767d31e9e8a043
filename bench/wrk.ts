import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findCommand } from '#test/support/debian.ts'

/** One request of a load; `path` begins with a slash. */
export interface LoadRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Sent as JSON. */
  readonly body?: Readonly<Record<string, unknown>>
}

/** Requests that are sent in turn to one server. */
export interface Target {
  readonly origin: string
  readonly headers: Readonly<Record<string, string>>
  readonly requests: readonly LoadRequest[]
  /** How long a connection waits between an answer and its next request, on average; not at all unless given. */
  readonly pauseMs?: number
}

/** What one run of wrk saw; latencies in milliseconds. */
export interface Sample {
  readonly requestsPerSecond: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  /** Answers of 400 and above. */
  readonly refused: number
  /** Connections that failed, and answers that did not come within ten seconds. */
  readonly broken: number
}

export type RunLoad = (target: Target, seconds: number) => Promise<Sample>

const script = join(import.meta.dir, 'load.lua')

/** The path of wrk. Throws where it is neither on PATH nor to be had from Debian. */
export async function findWrk(): Promise<string> {
  const wrk = await findCommand('wrk', 'wrk')
  if (wrk === null) throw new Error('wrk is missing. Remedy: apt-get install wrk, or brew install wrk')
  return wrk
}

/** Runs loads with this many connections; its files are in `folder`. */
export function createRunner(wrk: string, folder: string, connections: number): RunLoad {
  return async (target, seconds) => {
    const plan = join(folder, `plan-${crypto.randomUUID()}`)
    // A file, not arguments: those show the key in the list of processes.
    await writeFile(plan, planOf(target), { mode: 0o600 })
    try {
      const options = ['--threads=1', `--connections=${connections}`, `--duration=${seconds}s`, '--timeout=10s']
      const child = Bun.spawn(
        [wrk, ...options, `--script=${script}`, target.origin, plan, String(target.pauseMs ?? 0)],
        {
          stdin: 'ignore',
          stdout: 'pipe',
          stderr: 'pipe',
        },
      )
      const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
      if (code !== 0) throw new Error(`wrk ended with code ${code}: ${errors}${output}`)
      return readSample(output)
    } finally {
      await rm(plan)
    }
  }
}

/** The version as wrk prints it, or null. */
export async function versionOf(wrk: string): Promise<string | null> {
  const child = Bun.spawn([wrk, '-v'], { stdin: 'ignore', stdout: 'pipe', stderr: 'ignore' })
  return /^wrk (?:debian\/)?(\S+)/.exec(await child.stdout.text())?.[1] ?? null
}

function planOf({ headers, requests }: Target): string {
  const hasBody = requests.some(({ body }) => body !== undefined)
  const sent = { ...headers, ...(hasBody ? { 'content-type': 'application/json' } : {}) }
  return [
    ...Object.entries(sent).map(([name, value]) => `${name}: ${value}`),
    '',
    ...requests.map(({ method, path, body }) => [method, path, body ? JSON.stringify(body) : ''].join('\t')),
    '',
  ].join('\n')
}

function readSample(output: string): Sample {
  const line = output.split('\n').find((candidate) => candidate.startsWith('{'))
  if (line === undefined) throw new Error(`wrk reported nothing: ${output}`)
  const seen = JSON.parse(line) as Readonly<Record<string, number>>
  const count = (name: string) => seen[name] ?? Number.NaN
  return {
    requestsPerSecond: (count('requests') / count('microseconds')) * 1e6,
    p50: count('p50') / 1000,
    p95: count('p95') / 1000,
    p99: count('p99') / 1000,
    refused: count('refused'),
    broken: count('broken') + count('timedOut'),
  }
}
