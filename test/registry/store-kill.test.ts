import { expect, test } from 'bun:test'
import { newName, path } from './registries.ts'
import { scratchFolder } from './scratch.ts'
import { clientOf, productionEnvironment, startServer } from '#test/e2e/server.ts'
import { createScratchDatabase, registryKinds } from '#test/support/app.ts'
import { freePorts } from '#test/support/ports.ts'
import { canary, stores } from '#test/support/stores.ts'

const rounds = process.env['TEST_FULL'] === '1' ? 50 : 2
const acknowledgedPerRound = 20

interface Row {
  readonly id: string
  readonly description: string | null
  readonly host: string
}

for (const registry of registryKinds) {
  test(`kill -9 under writes on ${registry}: what was acknowledged is there and opens, and nothing is half`, async () => {
    await using cleanup = new AsyncDisposableStack()
    const folder = cleanup.use(await scratchFolder())
    const store = registry === 'embedded' ? undefined : (stores()[registry] ?? undefined)
    const scratch = store && cleanup.use(await createScratchDatabase(store))
    const { DATABASE_URL, ...keys } = productionEnvironment(scratch?.url ?? '')
    const env = { ...keys, ...(scratch === undefined ? { DATA_DIR: folder.path } : { DATABASE_URL }) }
    const [port] = await freePorts()
    const connectionString = `redis://:${canary}@127.0.0.1:${port}/0`
    const acknowledged = new Map<string, string>()
    const asked = new Set<string>()

    const write = async (request: ReturnType<typeof clientOf>['request']) => {
      const name = newName()
      const row = { projectRef: 'default', name, type: 'redis', connectionString }
      const created = await request('POST', `${path}?skipTest=true`, { ...row, description: name })
      if (created.status !== 201) return
      const { id } = (await created.json()) as Row
      acknowledged.set(id, name)
      const description = `changed ${name}`
      asked.add(description)
      if ((await request('PATCH', `${path}/${id}`, { description })).status === 200) acknowledged.set(id, description)
    }

    for (let round = 1; round <= rounds; round++) {
      await using server = startServer({ env })
      const { request } = clientOf(await server.url, env.BUN_API_KEY)
      const enough = round * acknowledgedPerRound
      const writers = Array.from({ length: 4 }, async () => {
        while (acknowledged.size < enough) await write(request)
        server.kill('SIGKILL')
      })
      await Promise.allSettled(writers)
      await server.exited
    }

    await using server = startServer({ env })
    const { request } = clientOf(await server.url, env.BUN_API_KEY)
    const rows = (await (await request('GET', `${path}?limit=1000`)).json()) as Row[]
    const byId = new Map(rows.map((row) => [row.id, row]))
    const lost = [...acknowledged].filter(([id, description]) => {
      const found = byId.get(id)?.description
      return found !== description && !(found && asked.has(found))
    })
    const codes = new Set<string>()
    for (const { id } of rows) {
      const answer = await request('POST', `${path}/${id}/test`)
      codes.add(`${answer.status} ${((await answer.json()) as { error: { code: string } }).error.code}`)
    }
    expect([acknowledged.size >= rounds * acknowledgedPerRound, lost, [...codes]]).toEqual([
      true,
      [],
      ['200 DB_CONNECTION_FAILED'],
    ])
    expect(rows.filter(({ host, description }) => host !== '127.0.0.1' || description === null)).toEqual([])
  }, 60_000)
}
