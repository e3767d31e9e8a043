import { join } from 'node:path'
import { generousLimits, testKeys } from '#test/support/app.ts'

const root = join(import.meta.dir, '..', '..')
const main = join(root, 'src', 'main.ts')

/** The real entry in a process of its own. */
export interface ServerProcess extends AsyncDisposable {
  readonly pid: number
  /** Where it listens, without a closing slash; rejects when it ends before that. */
  readonly url: Promise<string>
  readonly exited: Promise<number>
  /** Lines on standard output so far: the log. */
  readonly lines: readonly string[]
  /** Everything on standard error so far: the banner, or why it did not start. */
  readonly errors: () => string
  /** The first log line of this event, also one that is still to come. */
  logged(event: string): Promise<Readonly<Record<string, unknown>>>
  /** The first match in standard error, also one that is still to come. */
  printed(pattern: RegExp): Promise<RegExpExecArray>
  kill(signal: NodeJS.Signals): void
}

export interface ServerOptions {
  readonly env: Readonly<Record<string, string>>
  /** Before `src/main.ts`, or instead of it where `command` is given. */
  readonly flags?: readonly string[]
  readonly command?: readonly string[]
  readonly cwd?: string
}

/** Starts the server on a free port. It inherits nothing of this process but PATH; disposing it kills what is left of it. */
export function startServer({ env, flags = [], command, cwd = root }: ServerOptions): ServerProcess {
  const child = Bun.spawn([process.execPath, ...(command ?? [...flags, main])], {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', PORT: '0', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    detached: true,
  })
  const lines: string[] = []
  const waiting = new Set<() => void>()
  let errors = ''
  let ended = false
  const wake = () => waiting.forEach((check) => check())
  const read = async (stream: ReadableStream<Uint8Array>, take: (text: string) => void) => {
    const decoder = new TextDecoder()
    for await (const chunk of stream) {
      take(decoder.decode(chunk, { stream: true }))
      wake()
    }
  }
  let partial = ''
  const reading = Promise.all([
    read(child.stdout, (text) => {
      const parts = (partial + text).split('\n')
      partial = parts.pop() ?? ''
      lines.push(...parts)
    }),
    read(child.stderr, (text) => (errors += text)),
  ])
  const exited = Promise.all([child.exited, reading]).then(([code]) => {
    ended = true
    wake()
    return code
  })

  const untilFound = <T>(what: string, find: () => T | null | undefined) =>
    new Promise<T>((resolve, reject) => {
      const check = () => {
        const found = find()
        if ((found === undefined || found === null) && !ended) return
        waiting.delete(check)
        if (found === undefined || found === null) reject(new Error(`it ended without ${what}: ${errors}`))
        else resolve(found)
      }
      waiting.add(check)
      check()
    })
  const logged = (event: string) =>
    untilFound(event, () => lines.map(parseLine).find((line) => line?.['event'] === event))
  const url = logged('listening').then((line) => String(line['url']).replace(/\/$/, ''))
  url.catch(() => undefined)

  return {
    pid: child.pid,
    url,
    exited,
    lines,
    errors: () => errors,
    logged,
    printed: (pattern) => untilFound(String(pattern), () => pattern.exec(errors)),
    kill: (signal) => child.kill(signal),
    async [Symbol.asyncDispose]() {
      try {
        process.kill(-child.pid, 'SIGKILL')
      } catch {
        // It has ended, and all that it started.
      }
      await exited
    },
  }
}

export interface Client {
  readonly url: string
  readonly key: string
  request(method: string, path: string, body?: unknown, init?: RequestInit): Promise<Response>
}

export function clientOf(url: string, key: string): Client {
  return {
    url,
    key,
    request: (method, path, body, init = {}) =>
      fetch(`${url}${path}`, {
        method,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...init,
      }),
  }
}

/** What production needs beside `DATABASE_URL`; it listens on loopback and may dial it. */
export function productionEnvironment(databaseUrl: string) {
  return {
    ...generousLimits,
    ...testKeys(),
    DATABASE_URL: databaseUrl,
    HOST: '127.0.0.1',
    EGRESS_ALLOW: '*',
    LOG_LEVEL: 'info',
  }
}

function parseLine(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return undefined
  }
}
