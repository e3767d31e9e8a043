import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { OwnRedis } from '#test/faults/own-redis.ts'
import type { TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { canary } from '#test/support/stores.ts'
import { eventually, inRegistry, newName, path } from './registries.ts'
import { contentOf, type Instances, keptIn, outcomeOf, startInstances } from './shared-instances.ts'

describeWith('redis', 'rows, keys and grants of instances over one Redis', ({ url: storeUrl }) => {
  let place: Instances
  let one: TestApp
  let other: TestApp
  let redis: OwnRedis
  beforeAll(async () => {
    place = await startInstances()
    ;[one, other] = place.apps
    redis = place.redis
  }, 60_000)
  afterAll(() => place?.[Symbol.asyncDispose]())

  const ask = async (app: TestApp, url: string, key = place.env.BUN_API_KEY) =>
    outcomeOf(await app.request('GET', url, { key }))
  const send = (app: TestApp, method: string, url: string, body?: unknown) =>
    app.request(method, url, { key: place.env.BUN_API_KEY, body })
  const addDatabase = async (projectRef = 'default'): Promise<string> => {
    const body = { projectRef, name: newName(), type: 'redis', connectionString: storeUrl }
    return (await send(one, 'POST', `${path}?skipTest=true`, body)).body.id
  }
  const addKey = async (projectRef = 'default'): Promise<{ id: string; secret: string }> =>
    (await send(one, 'POST', '/api/platform/api-keys', { name: newName(), projectRef, role: 'write' })).body
  /** A database, and a key and a user who may write to it. */
  const addAll = async () => {
    const [id, key, user] = [await addDatabase(), await addKey(), crypto.randomUUID()]
    await send(one, 'PUT', `${path}/${id}/permissions/${user}`, { role: 'write' })
    return { id, key, user, token: await place.signIn(user) }
  }
  const namesIn = () => redis.use(async (client) => client.hgetall((await client.keys('*:names'))[0] ?? ''))
  /** Waits until every change was heard, and everybody's new name is in Redis. */
  const quiet = () =>
    eventually(async () => {
      const before = await namesIn()
      await Bun.sleep(50)
      return Object.keys(before).length > 0 && Bun.deepEquals(before, await namesIn())
    })
  /** A new set of all, read by the first instance and so in Redis. */
  const addShared = async () => {
    for (;;) {
      const all = await addAll()
      await quiet()
      const entries = async () => (await keptIn(redis)).length
      const before = await entries()
      const seen = [await ask(one, `${path}/${all.id}`, all.key.secret), await ask(one, `${path}/${all.id}`, all.token)]
      expect(seen).toEqual(['200', '200'])
      // Rows, keys and grants; written a moment later.
      if (
        await eventually(async () => (await entries()) === before + 3, 500).then(
          () => true,
          () => false,
        )
      )
        return all
    }
  }
  const whileLocked = <T>(work: () => Promise<T>) =>
    inRegistry(one, (sql) =>
      sql.begin(async (tx) => {
        await tx`lock table platform.databases, platform.api_keys, platform.database_permissions, platform.project_permissions in access exclusive mode`
        return await work()
      }),
    )
  const withinASecond = async (what: string, condition: () => Promise<boolean>) => {
    const started = performance.now()
    await eventually(condition, 1_000)
    console.log(`${what}: after ${Math.round(performance.now() - started)} ms`)
  }
  /** All that Redis holds, to be put back as it was. */
  const dump = () =>
    redis.use(async (client) => {
      const names = await keptIn(redis)
      const values = await Promise.all(names.map((name) => client.dumpBuffer(name)))
      return names.map((name, at) => [name, values[at] ?? Buffer.alloc(0)] as const)
    })
  const putBack = (entries: Awaited<ReturnType<typeof dump>>) =>
    redis.use(async (client) => {
      for (const [name, value] of entries) await client.restore(name, 3_600_000, value, 'REPLACE')
    })

  test('what one has read the other uses while the registry is locked: to let in, to show a row and to open it', async () => {
    const { id, key, token } = await addShared()
    const url = `${path}/${id}`
    const keys = `/api/platform/redis/${id}/keys?count=1`
    const seen = await whileLocked(() =>
      Promise.all([
        ask(other, url, key.secret),
        ask(other, url, token),
        ask(other, keys),
        ask(other, keys, key.secret),
      ]),
    )
    expect(seen).toEqual(['200', '200', '200', '200'])
  })

  test('a revoked key, a grant taken away, a changed row: true within a second for all, also for a new instance, whatever is put back', async () => {
    const third = await place.start()
    const { id, key, user, token } = await addShared()
    const url = `${path}/${id}`
    const before = await dump()
    const apps = [one, other, third]
    expect((await send(other, 'DELETE', `/api/platform/api-keys/${key.id}`)).status).toBe(204)
    expect((await send(other, 'DELETE', `${url}/permissions/${user}`)).status).toBe(204)
    expect((await send(other, 'PATCH', url, { description: 'changed' })).status).toBe(200)
    const isTrue = async (app: TestApp) => {
      const row = await send(app, 'GET', url)
      const seen = [await ask(app, url, key.secret), await ask(app, url, token), row.body.description]
      return Bun.deepEquals(seen, ['401 UNAUTHENTICATED', '404 DB_NOT_FOUND', 'changed'])
    }
    expect(await isTrue(other)).toBe(true)
    await withinASecond('heard by the others', async () => (await isTrue(one)) && (await isTrue(third)))
    const started = performance.now()
    const fourth = await place.start()
    for (let round = 0; round < 10; round++) {
      await putBack(before)
      for (const app of [...apps, fourth]) expect(await isTrue(app)).toBe(true)
    }
    console.log(`a new instance, and 10 times put back: ${Math.round(performance.now() - started)} ms`)
  }, 30_000)

  test('a key revoked, or a grant taken away, while both are used without a pause: refused within a second, and from then on', async () => {
    const { id, key, user, token } = await addShared()
    const url = `${path}/${id}`
    const seen: { readonly at: number; readonly outcomes: readonly string[] }[] = []
    let asking = true
    const callers = place.apps.map(async (app) => {
      while (asking) {
        seen.push({ at: performance.now(), outcomes: [await ask(app, url, key.secret), await ask(app, url, token)] })
        await Bun.sleep(1)
      }
    })
    await inRegistry(one, async (sql) => {
      await sql`delete from platform.api_keys where id = ${key.id}`
      await sql`delete from platform.database_permissions where user_id = ${user}`
    })
    const done = performance.now()
    const until = done + 1_500
    await eventually(() => performance.now() > until)
    asking = false
    await Promise.all(callers)
    const late = seen.filter(({ at }) => at > done + 1_000)
    expect(late.length).toBeGreaterThan(10)
    expect(new Set(late.flatMap(({ outcomes }) => outcomes))).toEqual(
      new Set(['401 UNAUTHENTICATED', '404 DB_NOT_FOUND']),
    )
  })

  test("another project's row is not told from none by its place in Redis", async () => {
    const ref = newName('project')
    await send(one, 'POST', '/api/platform/projects', { name: 'Other', ref, organizationSlug: 'default' })
    const { secret } = await addKey(ref)
    const { id } = await addShared()
    // Its key is in memory then, so that the row alone has to be read.
    expect(await ask(other, `${path}/${crypto.randomUUID()}`, secret)).toBe('404 DB_NOT_FOUND')
    const answered = new Set<string>()
    const asked = await whileLocked(async () => {
      const asking = [id, crypto.randomUUID()].map(async (each) => {
        const outcome = await ask(other, `${path}/${each}`, secret)
        answered.add(each)
        return outcome
      })
      await Bun.sleep(200)
      // The row is there all the time, for those who may see it.
      expect([[...answered], await ask(other, `${path}/${id}`)]).toEqual([[], '200'])
      return { asking }
    })
    expect(await Promise.all(asked.asking)).toEqual(['404 DB_NOT_FOUND', '404 DB_NOT_FOUND'])
  })

  test('whoever reads that Redis learns nothing: no row, sealed string, hash, key, grant or id of any', async () => {
    const { id, key, user } = await addShared()
    await send(one, 'GET', path)
    const held = await inRegistry(one, async (sql) => [
      ...(await sql`select connection_string as text from platform.databases`),
      ...(await sql`select hash as text from platform.api_keys`),
      ...(await sql`select prefix as text from platform.api_keys`),
      ...(await sql`select name as text from platform.databases`),
    ])
    const content = await contentOf(redis)
    const secrets = [
      canary,
      key.secret,
      id,
      user,
      'enc:v1:',
      'connection',
      'write',
      'database',
      'host',
      'projects',
      '127.0.0.1',
    ]
    secrets.push(place.env.BUN_API_KEY, place.env.MULTI_DB_CRYPTO_KEY, ...held.map((row) => String(row['text'])))
    expect([content.length > 500, secrets.filter((secret) => content.includes(secret))]).toEqual([true, []])
  })

  test('Redis frozen, killed, flushed: a key and a grant open what they may, and nothing once they are gone', async () => {
    const nothing = async () => undefined
    const troubles = [
      [async () => redis.freeze(), async () => redis.thaw()],
      [() => redis.kill(), () => redis.start()],
      [() => redis.use((client) => client.flushall()), nothing],
    ] as const
    for (const [happens, mend] of troubles) {
      const { id, key, user, token } = await addShared()
      await happens()
      const all = async (app: TestApp) => [
        await ask(app, `${path}/${id}`, key.secret),
        await ask(app, `${path}/${id}`, token),
      ]
      for (const app of place.apps) expect(await all(app)).toEqual(['200', '200'])
      await send(other, 'DELETE', `/api/platform/api-keys/${key.id}`)
      await send(one, 'DELETE', `${path}/${id}/permissions/${user}`)
      const refused = ['401 UNAUTHENTICATED', '404 DB_NOT_FOUND']
      for (const app of place.apps) await eventually(async () => Bun.deepEquals(await all(app), refused), 1_000)
      await mend()
      await eventually(async () => {
        for (const app of place.apps) expect(await all(app)).toEqual(refused)
        return Object.keys(await namesIn()).length >= 2
      })
    }
  }, 30_000)
})
