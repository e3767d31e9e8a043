import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { deletePostgresVariables } from '#test/support/environment.ts'
import { startStores } from '#test/support/stores.ts'

/**
 * Registers a Redis and a PostgreSQL, tests them, reads from them and deletes them, and prints every request with its answer, secrets
 * as `****`. Starts real stores and a server of its own; `--url` and `--key` take a running server, `--redis` and `--postgres`
 * connection strings that it can reach. Exits 1 at the first answer that is not as promised.
 */
const { values: given } = parseArgs({
  options: {
    url: { type: 'string' },
    key: { type: 'string' },
    redis: { type: 'string' },
    postgres: { type: 'string' },
  },
})
const secrets = new Set<string>()
let requests = 0

try {
  await run()
  console.log(`\n${requests} requests ok`)
} catch (error) {
  console.log(`\nfailed at request ${requests}: ${mask(error instanceof Error ? error.message : String(error))}`)
  process.exitCode = 1
}

async function run(): Promise<void> {
  await using cleanup = new AsyncDisposableStack()
  deletePostgresVariables()
  const stores = await chooseStores(cleanup)
  const server =
    given.url === undefined ? await startServer(cleanup) : { url: given.url.replace(/\/$/, ''), key: given.key ?? '' }
  secrets.add(server.key)
  const send = clientOf(server)
  const name = `smoke-${randomBytes(3).toString('hex')}`
  const api = '/api/platform'

  await send('GET', '/health', 200)
  await send('GET', '/health/ready', 200)
  await send('GET', '/info', 200)

  const redis = await register('redis', stores.redis)
  const key = `${name}:greeting`
  await send('POST', `${api}/redis/${redis}/set`, 200, { key, value: 'hello', ttlMs: 60_000 })
  const { value } = await send('GET', `${api}/redis/${redis}/get?key=${key}`, 200)
  expectEqual('the value', value, 'hello')
  const { data } = await send('GET', `${api}/redis/${redis}/keys?pattern=${key}&count=1000`, 200)
  if (!Array.isArray(data)) throw new Error('the page of keys is no list')
  await send('GET', `${api}/redis/${redis}/info?section=server`, 200)

  const postgres = await register('postgres', stores.postgres)
  const query = { query: 'select $1::int + 1 as answer', parameters: [41] }
  const { rows } = await send('POST', `${api}/postgres/${postgres}/query`, 200, query)
  expectEqual('the row', JSON.stringify(rows), '[{"answer":42}]')
  const system = 'included_schemas=pg_catalog&include_system_schemas=true&include_columns=false&limit=1'
  const tables = await send('GET', `${api}/postgres/${postgres}/tables?${system}`, 200)
  expectEqual('the number of tables', tables['length'], 1)

  for (const id of [redis, postgres]) {
    await send('DELETE', `${api}/databases/${id}`, 204)
    await send('GET', `${api}/databases/${id}`, 404)
  }

  async function register(type: string, connectionString: string): Promise<string> {
    secrets.add(decodeURIComponent(/:\/\/[^@/]*?:([^@]*)@/.exec(connectionString)?.[1] ?? ''))
    const { ok } = await send('POST', `${api}/databases/test`, 200, { type, connectionString })
    expectEqual('ok', ok, true)
    const body = { projectRef: 'default', name: `${name}-${type}`, type, connectionString }
    const { id } = await send('POST', `${api}/databases`, 201, body)
    // Also after a failure; nothing is left of it on a running server.
    cleanup.defer(async () => {
      await fetch(`${server.url}${api}/databases/${id}`, { method: 'DELETE', headers: { apikey: server.key } })
    })
    await send('POST', `${api}/databases/${id}/test`, 200)
    await send('GET', `${api}/databases/${id}/info`, 200)
    return String(id)
  }
}

async function chooseStores(
  cleanup: AsyncDisposableStack,
): Promise<{ readonly redis: string; readonly postgres: string }> {
  if (given.redis !== undefined && given.postgres !== undefined) return { redis: given.redis, postgres: given.postgres }
  console.log('starting the stores')
  const { stop, redis, postgres18 } = await startStores()
  cleanup.defer(stop)
  if (redis === null) throw new Error('there is no Redis here: install redis-server, or give --redis and --postgres')
  return { redis: given.redis ?? redis.url, postgres: given.postgres ?? postgres18.url }
}

async function startServer(cleanup: AsyncDisposableStack): Promise<{ readonly url: string; readonly key: string }> {
  console.log('starting the server')
  const folder = await mkdtemp(join(tmpdir(), 'bun-api-smoke-'))
  cleanup.defer(() => rm(folder, { recursive: true, force: true }))
  const key = randomBytes(32).toString('hex')
  // In a folder of its own, where no .env changes what it does.
  const child = Bun.spawn([process.execPath, join(import.meta.dir, '..', 'src', 'main.ts')], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: process.env['HOME'] ?? '',
      PORT: '0',
      DATA_DIR: 'data',
      BUN_API_KEY: key,
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  cleanup.defer(async () => {
    child.kill('SIGTERM')
    await child.exited
  })
  const started = Promise.withResolvers<{ readonly url: string; readonly key: string }>()
  // To the end: a server whose log nobody reads would stand still.
  const log = readAll(child.stdout, (text) => {
    const url = /"url":"([^"]+)\/","mode"/.exec(text)?.[1]
    if (url !== undefined) started.resolve({ url, key })
  })
  const errors = readAll(child.stderr, () => undefined)
  void Promise.all([log, errors]).then(([, text]) => started.reject(new Error(`the server did not start: ${text}`)))
  return started.promise
}

async function readAll(stream: ReadableStream<Uint8Array>, sofar: (text: string) => void): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true })
    sofar(text)
  }
  return text
}

function clientOf({ url, key }: { readonly url: string; readonly key: string }) {
  return async (
    method: string,
    path: string,
    expected: number,
    body?: unknown,
  ): Promise<Readonly<Record<string, unknown>>> => {
    requests += 1
    const text = body === undefined ? null : JSON.stringify(body)
    console.log(`\n${method} ${path}${text === null ? '' : `\n  ${mask(text)}`}`)
    const headers = { authorization: `Bearer ${key}`, ...(text === null ? {} : { 'content-type': 'application/json' }) }
    const response = await fetch(`${url}${path}`, { method, headers, body: text })
    const answer = await response.text()
    console.log(`  ${response.status} ${shorten(mask(answer))}`)
    if (response.status !== expected) throw new Error(`${method} ${path} answered ${response.status}, not ${expected}`)
    return answer === '' ? {} : (JSON.parse(answer) as Record<string, unknown>)
  }
}

function expectEqual(what: string, found: unknown, expected: unknown): void {
  if (found !== expected) throw new Error(`${what} is ${String(found)}, not ${String(expected)}`)
}

function mask(text: string): string {
  const known = [...secrets].filter((secret) => secret !== '').sort((a, b) => b.length - a.length)
  const masked = known.reduce((rest, secret) => rest.replaceAll(secret, '****'), text)
  return masked.replaceAll(/(:\/\/[^:@/\s"]*:)[^@\s"]*@/g, '$1****@')
}

function shorten(text: string): string {
  return text.length > 2_000 ? `${text.slice(0, 2_000)}… (${text.length} characters)` : text
}
