import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { createApp } from '#src/app.ts'
import { eventually } from '#test/engines/peers.ts'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'

describe('a query over a real connection', () => {
  const cleanup = new AsyncDisposableStack()
  let app: TestApp
  let sql: postgres.Sql
  let url: string

  beforeAll(async () => {
    const scratch = cleanup.use(await createScratchDatabase(stores().postgres18))
    sql = postgres(scratch.url, { max: 1 })
    cleanup.defer(() => sql.end())
    app = cleanup.use(await createTestApp())
    const routes = createApp(app.deps)
    const server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: routes.fetch,
    })
    cleanup.defer(() => server.stop(true))
    const { id } = await app.register({ name: 'over-http', type: 'postgres', connectionString: scratch.url })
    url = `${server.url}api/platform/postgres/${id}/query`
  })
  afterAll(() => cleanup.disposeAsync())

  const ask = (body: string | ReadableStream, signal?: AbortSignal) =>
    fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${app.key}`, 'content-type': 'application/json' },
      body,
      ...(signal ? { signal } : {}),
    })
  const running = async (mark: string) =>
    (
      await sql`select 1 from pg_stat_activity where state = 'active' and query like ${`%${mark}%`} and pid <> pg_backend_pid()`
    ).length

  test('200 a statement that takes longer than the server’s idle timeout of 10 s, with any form of body', async () => {
    const body = JSON.stringify({ query: "select 'done' as slow from pg_sleep(11)", timeoutMs: 20_000 })
    const chunks = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(body))
        controller.close()
      },
    })
    const answers = await Promise.all([ask(body), ask(chunks)])
    const rows = await Promise.all(answers.map(async (answer) => ((await answer.json()) as { rows: unknown }).rows))
    expect(rows).toEqual([[{ slow: 'done' }], [{ slow: 'done' }]])
  })

  test('a client that hangs up has its backend cancelled within a second', async () => {
    const leaving = new AbortController()
    const asking = ask(JSON.stringify({ query: 'select pg_sleep(30) as hung_up' }), leaving.signal).catch(() => 'gone')
    await eventually(async () => (await running('hung_up')) === 1)
    leaving.abort()
    await eventually(async () => (await running('hung_up')) === 0, 1_000)
    expect(await asking).toBe('gone')
  })
})
