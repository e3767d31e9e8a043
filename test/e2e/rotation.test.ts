import { expect, test } from 'bun:test'
import postgres from 'postgres'
import { insertRow, newKey, sealedRow } from '#test/registry/stored-rows.ts'
import { createScratchDatabase } from '#test/support/app.ts'
import { canary, stores } from '#test/support/stores.ts'
import { runRewrap } from './rewrap-process.ts'
import { type Client, clientOf, productionEnvironment, type ServerProcess, startServer } from './server.ts'

const requestsPerSecond = 100
const served = 6
const idle = 200

type Environment = Readonly<Record<string, string>>

test('a key is rotated over two instances and one registry at 100 requests/s: every answer is 2xx', async () => {
  const { postgres18 } = stores()
  await using registry = await createScratchDatabase(postgres18)
  const [old, fresh] = await Promise.all([newKey(), newKey()])
  const common = productionEnvironment(registry.url)
  const key = common.BUN_API_KEY
  const first = { ...common, MULTI_DB_CRYPTO_KEY: old.text }
  const both = { ...first, MULTI_DB_CRYPTO_KEY_PREVIOUS: fresh.text }
  const last = { ...common, MULTI_DB_CRYPTO_KEY: fresh.text }
  const swapped = { ...last, MULTI_DB_CRYPTO_KEY_PREVIOUS: old.text }

  await using cleanup = new AsyncDisposableStack()
  const servers: ServerProcess[] = []
  const start = async (env: Environment) => {
    const server = cleanup.use(startServer({ env }))
    servers.push(server)
    return { server, client: clientOf(await server.url, key) }
  }
  const instances = [await start(first), await start(first)]
  let next = 0
  const any = (): Client => {
    const chosen = instances[next++ % instances.length]
    if (chosen === undefined) throw new Error('no instance serves')
    return chosen.client
  }
  /** As a platform does it: the new instance serves before the old one is told to go. */
  const replaceAll = async (env: Environment) => {
    for (let index = 0; index < 2; index++) {
      instances.push(await start(env))
      const leaving = instances.shift()
      leaving?.server.kill('SIGTERM')
      expect(await leaving?.server.exited).toBe(0)
    }
  }

  const ids: string[] = []
  for (let index = 0; index < served; index++) {
    const body = {
      projectRef: 'default',
      name: `db-${index}`,
      type: 'postgres',
      connectionString: postgres18.reader.url,
    }
    const answer = await any().request('POST', '/api/platform/databases', body)
    ids.push(((await answer.json()) as { id: string }).id)
  }
  const sql = postgres(registry.url, { max: 1 })
  cleanup.defer(() => sql.end())
  for (let index = 0; index < idle; index++)
    await insertRow(sql, await sealedRow(sql, old.ring, 'postgres', postgres18.reader.url))
  const failures: string[] = []
  let sent = 0
  const request = async () => {
    const turn = sent++
    const id = ids[turn % ids.length]
    const answer =
      turn % 20 === 0
        ? any().request('PATCH', `/api/platform/databases/${id}`, { description: `${turn}` })
        : turn % 2 === 0
          ? any().request('GET', `/api/platform/databases/${id}`)
          : any().request('POST', `/api/platform/postgres/${id}/query`, { query: 'select 1 as one' })
    await answer.then(
      async (response) => {
        if (!response.ok) failures.push(`${response.status} ${await response.text()}`)
        else await response.arrayBuffer()
      },
      (error: unknown) => failures.push(String(error)),
    )
  }
  const inFlight = new Set<Promise<void>>()
  const load = setInterval(() => {
    const work = request().finally(() => inFlight.delete(work))
    inFlight.add(work)
  }, 1_000 / requestsPerSecond)
  cleanup.defer(() => clearInterval(load))
  const began = performance.now()

  await replaceAll(both)
  await replaceAll(swapped)
  const dry = await runRewrap(swapped, '--dry-run')
  expect(dry).toMatchObject({ code: 1, last: `would be rewrapped: ${served + idle}, skipped: 0, failed: 0` })
  expect(await runRewrap(swapped, '--batch', '1')).toMatchObject({ code: 0, errors: '' })
  expect(await runRewrap(swapped)).toMatchObject({
    code: 0,
    last: `rewrapped: 0, skipped: ${served + idle}, failed: 0`,
  })
  await replaceAll(last)
  // Every session of the last two instances is opened with what the new key sealed.
  const settled = sent + 100
  while (sent < settled) await Promise.race(inFlight.size > 0 ? inFlight : [Bun.sleep(5)])
  clearInterval(load)
  await Promise.all(inFlight)

  const seconds = (performance.now() - began) / 1_000
  console.log(`${sent} requests in ${seconds.toFixed(1)} s while the key was rotated, ${failures.length} not 2xx`)
  expect(failures).toEqual([])
  expect(sent / seconds).toBeGreaterThan(requestsPerSecond / 2)
  const printed = servers.flatMap(({ lines, errors }) => [...lines, errors()]).join('\n')
  for (const secret of [canary, old.text, fresh.text, postgres18.reader.password]) expect(printed).not.toContain(secret)
}, 120_000)
