import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFile } from 'node:fs/promises'
import { createScratchDatabase } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'
import { clientOf, productionEnvironment, type ServerProcess, startServer } from './server.ts'

interface Line {
  readonly event: string
  readonly pid: number
  readonly route?: string
  readonly status?: number
}

const workers = 3
const burst = 300
const missing = process.platform === 'linux' ? undefined : 'Linux, which shares a port out'

describe.skipIf(missing !== undefined)(
  `several workers${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let registry: Awaited<ReturnType<typeof createScratchDatabase>>
    let env: ReturnType<typeof productionEnvironment> & { readonly WORKERS: string }
    beforeAll(async () => {
      registry = await createScratchDatabase(stores().postgres18)
      env = { ...productionEnvironment(registry.url), WORKERS: String(workers) }
    }, 60_000)
    afterAll(() => registry[Symbol.asyncDispose]())

    test('answer on one port, know of each other’s changes, and log whole lines', async () => {
      await using server = startServer({ env })
      const client = await allListening(server)
      const body = {
        projectRef: 'default',
        name: 'shared',
        type: 'postgres',
        connectionString: stores().postgres18.url,
      }
      const created = await client.request('POST', '/api/platform/databases', body)
      const { id } = (await created.json()) as { id: string }
      // A connection each, which the system gives to one of them.
      const read = () => client.request('GET', `/api/platform/databases/${id}`, undefined, closing(client.key))
      const statuses = await Promise.all(Array.from({ length: burst }, async () => (await read()).status))
      expect(statuses).toEqual(Array.from({ length: burst }, () => 200))
      const children = await childrenOf(server.pid)
      server.kill('SIGTERM')
      expect(await server.exited).toBe(0)
      const logged = server.lines.map((line) => JSON.parse(line) as Line)
      const reads = logged.filter(({ event, route }) => event === 'request' && route === '/api/platform/databases/:id')
      expect(reads.map(({ status }) => status)).toEqual(statuses)
      expect([...new Set(reads.map(({ pid }) => pid))].toSorted()).toEqual(children.toSorted())
      expect(logged.filter(({ event }) => event === 'stopped')).toHaveLength(workers)
    }, 60_000)

    test('go on when one of them is killed, which is replaced', async () => {
      await using server = startServer({ env })
      const client = await allListening(server)
      const [killed] = await childrenOf(server.pid)
      process.kill(killed ?? 0, 'SIGKILL')
      await server.logged('worker ended')
      const answer = await client.request('GET', '/health', undefined, closing(client.key))
      expect(answer.status).toBe(200)
      await until(() => listening(server) === workers + 1)
      const now = await childrenOf(server.pid)
      expect([now.length, now.includes(killed ?? 0)]).toEqual([workers, false])
    }, 60_000)

    test('end with the process that started them, however that ends', async () => {
      await using server = startServer({ env })
      await allListening(server)
      const children = await childrenOf(server.pid)
      server.kill('SIGKILL')
      await until(async () => (await Promise.all(children.map(isThere))).every((there) => !there))
      expect(children).toHaveLength(workers)
    }, 60_000)

    test('that can not start say it once, by the exit code and one line', async () => {
      await using first = startServer({ env: { ...env, DATABASE_URL: 'postgres://nobody:wrong@127.0.0.1:1/none' } })
      expect([await first.exited, first.errors().trim().split('\n').length]).toEqual([1, 1])
      await using embedded = startServer({ env: { WORKERS: '2', HOST: '127.0.0.1' } })
      expect([await embedded.exited, embedded.errors().includes('WORKERS: above 1 needs DATABASE_URL')]).toEqual([
        78,
        true,
      ])
    }, 60_000)

    test('share no port with another server', async () => {
      await using server = startServer({ env })
      const { url } = await allListening(server)
      await using second = startServer({ env: { ...env, PORT: new URL(url).port } })
      expect([await second.exited, second.errors()]).toEqual([1, expect.stringContaining('is in use')])
    }, 60_000)

    function closing(key: string): RequestInit {
      return { headers: { authorization: `Bearer ${key}`, connection: 'close' }, keepalive: false }
    }

    async function allListening(server: ServerProcess) {
      const client = clientOf(await server.url, env.BUN_API_KEY)
      await until(() => listening(server) === workers)
      return client
    }
  },
)

function listening({ lines }: ServerProcess): number {
  return lines.filter((line) => line.includes('"event":"listening"')).length
}

async function childrenOf(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return text.split(' ').filter(Boolean).map(Number)
}

async function isThere(pid: number): Promise<boolean> {
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  return state !== undefined && state.split(') ')[1]?.[0] !== 'Z'
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await Bun.sleep(20)
}
