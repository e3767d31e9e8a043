import { expect, test } from 'bun:test'
import type { TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { canary } from '#test/support/stores.ts'
import { eventually, inRegistry, newName, path } from './registries.ts'
import { startInstances } from './shared-instances.ts'

describeWith('redis', 'lists of two instances over one Redis', () => {
  const key = (env: { readonly BUN_API_KEY: string }) => ({ key: env.BUN_API_KEY })
  const input = (name: string) => ({
    projectRef: 'default',
    name,
    type: 'redis',
    connectionString: `redis://user:${canary}@store.test:6379/0`,
    config: {},
  })
  const names = async (app: TestApp, env: { readonly BUN_API_KEY: string }, list = path) =>
    ((await app.request('GET', list, key(env))).body as { name: string }[]).map(({ name }) => name)
  const create = async (app: TestApp, env: { readonly BUN_API_KEY: string }, name: string) => {
    const { status, body } = await app.request('POST', `${path}?skipTest=true`, { ...key(env), body: input(name) })
    expect(status).toBe(201)
    return body.id as string
  }

  test('a list one has read, the other answers while the registry is locked', async () => {
    await using place = await startInstances()
    const { apps, env, redis } = place
    const name = newName()
    await create(apps[0], env, name)
    // Each time another list: what was read before Redis had a generation is in memory alone.
    let limit = 1
    const list = () => `${path}?limit=${limit}`
    await eventually(async () => {
      limit += 1
      expect(await names(apps[0], env, list())).toEqual([name])
      return (await redis.use((client) => client.dbsize())) === 2
    })
    await inRegistry(apps[0], (sql) =>
      sql.begin(async (tx) => {
        await tx`lock table platform.databases in access exclusive mode`
        expect(await names(apps[1], env, list())).toEqual([name])
      }),
    )
  })

  test('a change by either, or by plain SQL, is seen by both within a second, by its author at once', async () => {
    await using place = await startInstances()
    const { apps, env } = place
    let expected: readonly string[] = []
    const seen = async () => {
      const started = performance.now()
      await eventually(async () => {
        const lists = await Promise.all(apps.map((app) => names(app, env)))
        return lists.every((list) => Bun.deepEquals([...list].sort(), [...expected].sort()))
      }, 1_000)
      return performance.now() - started
    }
    let slowest = await seen()
    for (let round = 0; round < 12; round++) {
      const [author, other] = round % 2 === 0 ? apps : [apps[1], apps[0]]
      const name = newName()
      const id = await create(author, env, name)
      expected = [...expected, name]
      expect(await names(author, env)).toContain(name)
      slowest = Math.max(slowest, await seen())
      if (round % 3 === 0) {
        expect((await other.request('DELETE', `${path}/${id}`, key(env))).status).toBe(204)
        expected = expected.filter((kept) => kept !== name)
        expect(await names(other, env)).not.toContain(name)
      } else if (round % 3 === 1) {
        const renamed = newName()
        await inRegistry(author, (sql) => sql`update platform.databases set name = ${renamed} where id = ${id}`)
        expected = expected.map((kept) => (kept === name ? renamed : kept))
      }
      slowest = Math.max(slowest, await seen())
    }
    console.log(`a change was seen by both after ${Math.round(slowest)} ms at most`)
  }, 60_000)

  test('readers and writers at once: nobody is left with an old list', async () => {
    await using place = await startInstances()
    const { apps, env } = place
    const created: string[] = []
    let writing = true
    const reading = apps.map(async (app) => {
      while (writing) {
        expect((await names(app, env)).length).toBeLessThanOrEqual(30)
        // An answer from memory takes no turn of the event loop, which the writer needs.
        await Bun.sleep(1)
      }
    })
    for (let count = 0; count < 30; count++) {
      const name = newName()
      const author = count % 2 === 0 ? apps[0] : apps[1]
      await create(author, env, name)
      created.push(name)
      expect(await names(author, env)).toEqual(expect.arrayContaining(created.slice(-1)))
    }
    writing = false
    await Promise.all(reading)
    await eventually(
      async () => (await Promise.all(apps.map((app) => names(app, env)))).every((list) => list.length === 30),
      1_000,
    )
  }, 30_000)

  test('Redis frozen, killed, flushed: answers stay right', async () => {
    await using place = await startInstances()
    const { apps, env, redis } = place
    const [one, other] = apps
    const created: string[] = []
    const changeAndLook = async () => {
      created.unshift(newName())
      await create(one, env, created[0] ?? '')
      expect(await names(one, env)).toEqual(created)
      await eventually(async () => Bun.deepEquals(await names(other, env), created), 1_000)
    }
    await changeAndLook()
    redis.freeze()
    await changeAndLook()
    redis.thaw()
    await changeAndLook()
    await redis.kill()
    await changeAndLook()
    await redis.start()
    await changeAndLook()
    await redis.use((client) => client.flushall())
    await changeAndLook()
  })
})
