import { closeSync, openSync, truncateSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { freePorts } from '#test/support/ports.ts'

/** A server in a process of its own that has answered. */
export interface BenchServer extends AsyncDisposable {
  readonly origin: string
  /** What every request to it carries. */
  readonly headers: Readonly<Record<string, string>>
  /** From the start of the process to the first 200. */
  readonly startMs: number
  /** Resident memory in bytes; null where the system does not tell it in `/proc`. */
  rss(): Promise<number | null>
  /** Empties its log file, which a load fills with a line per request. */
  trimLog(): void
}

export interface Keys {
  readonly BUN_API_KEY: string
  readonly MULTI_DB_CRYPTO_KEY: string
}

interface Launch {
  readonly script: string
  /** Answers 200 once the server is there. */
  readonly path: string
  readonly env: Readonly<Record<string, string>>
  readonly folder: string
  readonly headers: Readonly<Record<string, string>>
}

const root = join(import.meta.dir, '..')
const readyWithinMs = 30_000
const pollMs = 2
// Limits on callers would be what is measured, so they are out of the way.
const noLimits = { RATE_READ_RPS: '1000000', RATE_WRITE_RPS: '1000000', RATE_TESTS_PER_MIN: '1000000' }

export function makeKeys(): Keys {
  const key = () => randomBytes(32).toString('base64url')
  return { BUN_API_KEY: key(), MULTI_DB_CRYPTO_KEY: key() }
}

/** The real entry as production runs it: external registry, one log line per request, `NODE_ENV` unset. It has answered, by one worker at least. */
export function startBunApi(databaseUrl: string, keys: Keys, folder: string, workers = 1): Promise<BenchServer> {
  return start({
    script: join(root, 'src', 'main.ts'),
    path: '/health',
    env: {
      ...keys,
      ...noLimits,
      DATABASE_URL: databaseUrl,
      HOST: '127.0.0.1',
      EGRESS_ALLOW: '127.0.0.0/8',
      WORKERS: String(workers),
    },
    folder,
    headers: { authorization: `Bearer ${keys.BUN_API_KEY}` },
  })
}

/** A server that answers `hello` and does nothing else. */
export function startBare(kind: 'bun' | 'hono', folder: string): Promise<BenchServer> {
  return start({ script: join(import.meta.dir, `bare-${kind}.ts`), path: '/', env: {}, folder, headers: {} })
}

async function start({ script, path, env, folder, headers }: Launch): Promise<BenchServer> {
  const log = join(folder, `server-${crypto.randomUUID()}.log`)
  const [port] = await freePorts()
  const began = performance.now()
  const child = spawnLogged(script, { ...env, PORT: String(port) }, folder, log)
  const stop = async () => {
    child.kill('SIGTERM')
    await child.exited
  }
  const origin = `http://127.0.0.1:${port}`
  while (!(await answers(`${origin}${path}`))) {
    if (child.exitCode === null && performance.now() - began < readyWithinMs) await Bun.sleep(pollMs)
    else {
      await stop()
      throw new Error(`${script} did not start:\n${(await readFile(log, 'utf8')).slice(-2_000)}`)
    }
  }
  return {
    origin,
    headers,
    startMs: performance.now() - began,
    rss: () => readRss(child.pid),
    trimLog: () => truncateSync(log),
    [Symbol.asyncDispose]: stop,
  }
}

// In a folder of its own, where no .env changes what it does; the flag ends it with this process, however that ends.
function spawnLogged(script: string, env: Readonly<Record<string, string>>, cwd: string, log: string) {
  const file = openSync(log, 'a', 0o600)
  try {
    return Bun.spawn([process.execPath, '--no-orphans', script], {
      cwd,
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...env },
      stdin: 'ignore',
      stdout: file,
      stderr: file,
    })
  } finally {
    closeSync(file)
  }
}

function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  )
}

async function readRss(pid: number): Promise<number | null> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
  return kilobytes === undefined ? null : Number(kilobytes) * 1024
}
