import { rmSync } from 'node:fs'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { createApp } from '#src/app.ts'
import { loadConfig } from '#src/config.ts'
import { createDeps, type Deps, type DepsOverrides } from '#src/deps.ts'
import { createLog } from '#src/log.ts'
import { openEmbedded } from '#src/registry/embedded.ts'
import { canary, type PostgresStore, stores } from './stores.ts'

export type RegistryKind = 'embedded' | 'postgres18' | 'postgres15'

/** The registries every registry test runs on; `postgres15` where the machine has it. */
export const registryKinds: readonly RegistryKind[] = [
  'embedded',
  'postgres18',
  ...(stores().postgres15 === null ? [] : (['postgres15'] as const)),
]

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The parsed body; `undefined` when it is empty or not JSON. Untyped on purpose: tests compare it whole. */
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any
}

export interface RequestOptions {
  /** Sent as JSON, unless it is text, bytes or a stream of them, which go as they are. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** `null` sends no key. */
  readonly key?: string | null
  readonly signal?: AbortSignal
}

/** The app over a registry of its own. Disposing it closes everything and fails when any answer or log line held a secret. */
export interface TestApp extends AsyncDisposable {
  readonly deps: Deps
  readonly key: string
  readonly logLines: readonly string[]
  /** Every answer's headers and body so far. */
  readonly transcript: readonly string[]
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>
  /** The same for an answer that is read as it comes. */
  stream(method: string, path: string, options?: RequestOptions): Promise<Response>
  /** Registers a database in project `default` and answers its row; fails unless that is 201. */
  // oxlint-disable-next-line typescript/no-explicit-any
  register(input: Readonly<Record<string, unknown>>): Promise<any>
}

export interface TestAppOptions {
  readonly registry?: RegistryKind
  readonly env?: Readonly<Record<string, string>>
  readonly overrides?: Omit<DepsOverrides, 'log'>
}

/** Keys of a test server: valid by production's rules, and marked so that a leak is found. */
export function testKeys() {
  return {
    MULTI_DB_CRYPTO_KEY: randomBytes(32).toString('base64url'),
    BUN_API_KEY: `${canary}-${randomBytes(32).toString('base64url')}`,
  }
}

/** Limits that no test meets which is not about them: a 401 stays a 401. */
export const generousLimits = {
  RATE_ANONYMOUS_MAX: '1000000',
  RATE_AUTH_FAILURES_PER_MIN: '1000000',
  RATE_READ_RPS: '1000000',
  RATE_WRITE_RPS: '1000000',
  RATE_TESTS_PER_MIN: '1000000',
  MAX_IN_FLIGHT: '10000',
  MAX_DATABASE_IN_FLIGHT: '10000',
}

export async function createTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  await using cleanup = new AsyncDisposableStack()
  const keys = testKeys()
  const registry = await openRegistry(options.registry ?? 'embedded', cleanup)
  const config = loadConfig({
    LOG_LEVEL: 'debug',
    EGRESS_ALLOW: '*',
    ...generousLimits,
    ...keys,
    ...registry,
    ...options.env,
  })
  const logLines: string[] = []
  const log = createLog(config.LOG_LEVEL, { write: (line) => void logLines.push(line) })
  const deps = await createDeps(config, { log, ...options.overrides })
  cleanup.use(deps)
  const app = createApp(deps)
  const transcript: string[] = []
  const owned = cleanup.move()

  const stream: TestApp['stream'] = (method, path, { body, headers, key = keys.BUN_API_KEY, signal } = {}) => {
    const raw = [Uint8Array, ReadableStream].some((kind) => body instanceof kind) || typeof body === 'string'
    return app.request(path, {
      method,
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })
  }
  const request: TestApp['request'] = async (method, path, options) => {
    const response = await stream(method, path, options)
    const text = await response.text()
    transcript.push(`${method} ${path} ${JSON.stringify([...response.headers])} ${text}`)
    return { status: response.status, headers: response.headers, text, body: parse(text) }
  }

  return {
    deps,
    key: keys.BUN_API_KEY,
    logLines,
    transcript,
    request,
    stream,
    async register(input) {
      const answer = await request('POST', '/api/platform/databases', { body: { projectRef: 'default', ...input } })
      if (answer.status !== 201) throw new Error(`registration answered ${answer.status}: ${answer.text}`)
      return answer.body
    },
    async [Symbol.asyncDispose]() {
      await owned.disposeAsync()
      const leaks = [...transcript, ...logLines].filter(
        (line) => line.includes(canary) || line.includes(keys.MULTI_DB_CRYPTO_KEY),
      )
      if (leaks.length > 0) throw new Error(`a secret left the server: ${leaks[0]}`)
    },
  }
}

/** A fresh database of its own in one of the clusters, dropped at the end. */
export async function createScratchDatabase(
  store: PostgresStore,
): Promise<{ name: string; url: string } & AsyncDisposable> {
  const name = `t_${randomBytes(6).toString('hex')}`
  const admin = postgres({ ...store, username: store.user, max: 1, onnotice: () => undefined })
  await admin.unsafe(`create database ${name}`)
  const { user, password, host, port } = store
  return {
    name,
    url: `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}/${name}`,
    async [Symbol.asyncDispose]() {
      await admin.unsafe(`drop database if exists ${name} with (force)`)
      await admin.end()
    },
  }
}

async function openRegistry(kind: RegistryKind, cleanup: AsyncDisposableStack): Promise<Record<string, string>> {
  if (kind === 'embedded') {
    const folder = await mkdtemp(join(tmpdir(), 'bun-api-test-'))
    cleanup.defer(() => rm(folder, { recursive: true, force: true }))
    template ??= makeTemplate()
    await cp(await template, folder, { recursive: true })
    return { DATA_DIR: folder }
  }
  const store = stores()[kind]
  if (store === null) throw new Error(`${kind} is not running`)
  const scratch = await createScratchDatabase(store)
  cleanup.use(scratch)
  return { DATABASE_URL: scratch.url }
}

let template: Promise<string> | undefined

// An empty cluster takes PGlite several seconds to make and a copy of one next to nothing, so it is made once a run.
async function makeTemplate(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'bun-api-template-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  await (await openEmbedded(folder)).close()
  return folder
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
