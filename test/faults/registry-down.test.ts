import { expect, test } from 'bun:test'
import { eventually, newName, path } from '#test/registry/registries.ts'
import { withClient } from '#test/registry/scratch.ts'
import { type Answer, createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type FaultMode, type FaultProxy, startFaultProxy } from '#test/support/fault-proxy.ts'
import { canary, stores } from '#test/support/stores.ts'

interface Place {
  readonly app: TestApp
  readonly proxy: FaultProxy
  /** The registry, past the proxy. */
  readonly direct: string
  readonly id: string
  /** Reads that were answered before: a row, a list, and a store's own. */
  readonly known: readonly string[]
  readonly fail: (mode: FaultMode) => void
}

const unknown = '00000000-0000-4000-8000-000000000000'
const second = 1_000
const staleOf = (answer: Answer) => answer.headers.get('x-registry-stale')

describeWith('redis', 'a server whose registry is down', (redis) => {
  async function serving(env: Readonly<Record<string, string>>, work: (place: Place) => Promise<void>) {
    const { postgres18 } = stores()
    await using database = await createScratchDatabase(postgres18)
    await using proxy = await startFaultProxy(postgres18.host, postgres18.port)
    const url = new URL(database.url)
    url.host = `127.0.0.1:${proxy.port}`
    await using app = await createTestApp({ registry: 'postgres18', env: { DATABASE_URL: url.href, ...env } })
    const { id } = await app.register({ name: newName(), type: 'redis', connectionString: redis.url })
    const known = [`${path}/${id}`, path, `/api/platform/redis/${id}/keys?count=1`]
    const fail = (mode: FaultMode) => {
      proxy.mode = mode
      if (mode === 'refuse-after-accept') proxy.resetAll()
    }
    await work({ app, proxy, direct: database.url, id, known, fail })
  }
  /** Reads all that is known, once the changes that made it were heard: each of them drops what was read before. */
  const warm = async ({ app, known }: Place) => {
    await Bun.sleep(300)
    await eventually(async () =>
      (await answersOf(app, known)).every((answer) => answer.status === 200 && !staleOf(answer)),
    )
  }
  const answersOf = (app: TestApp, paths: readonly string[]) => Promise.all(paths.map((url) => app.request('GET', url)))
  const mutations = ({ id }: Place): readonly (readonly [method: string, url: string, body?: unknown])[] => [
    [
      'POST',
      `${path}?skipTest=true`,
      { projectRef: 'default', name: newName(), type: 'redis', connectionString: `redis://:${canary}@x` },
    ],
    ['PATCH', `${path}/${id}`, { description: 'x' }],
    ['DELETE', `${path}/${unknown}`],
    ['POST', '/api/platform/projects', { name: 'a', ref: newName(), organizationSlug: 'default' }],
    ['POST', `/api/platform/redis/${id}/set`, { key: newName(), value: 'x' }],
  ]
  const refused = (place: Place) =>
    Promise.all(
      mutations(place).map(async ([method, url, body]) => {
        const started = performance.now()
        const { status, body: answer } = await place.app.request(method, url, { body })
        return [method, status, answer.error?.code, performance.now() - started < second]
      }),
    )
  const expectRefused = async (place: Place) =>
    expect(await refused(place)).toEqual(
      mutations(place).map(([method]) => [method, 503, 'REGISTRY_UNAVAILABLE', true]),
    )

  for (const [how, mode] of [
    ['hangs', 'blackhole'],
    ['refuses', 'refuse-after-accept'],
  ] as const) {
    test(
      `${how}: what was read goes on with its age, nothing waits a second, everything else is 503, and all works within 5 s of its return`,
      () =>
        serving({}, async (place) => {
          const { app, proxy, known, fail, id, direct } = place
          await warm(place)
          fail(mode)
          const slowest = { ms: 0 }
          const poll = async () => {
            const started = performance.now()
            const answers = await answersOf(app, known)
            slowest.ms = Math.max(slowest.ms, performance.now() - started)
            expect(answers.map(({ status }) => status)).toEqual(known.map(() => 200))
            return answers.every((answer) => Number(staleOf(answer)) >= 1)
          }
          // From the first moment, before anybody could know.
          const early = refused(place)
          await eventually(poll)
          // A write to the store does not need the registry until its row is in doubt.
          for (const [, status, code, inTime] of (await early).slice(0, -1))
            expect([status, code, inTime]).toEqual([503, 'REGISTRY_UNAVAILABLE', true])
          console.log(`a registry that ${how}: the slowest read took ${Math.round(slowest.ms)} ms`)
          expect(slowest.ms).toBeLessThan(second)

          const started = performance.now()
          await expectRefused(place)
          const unread = await answersOf(app, [`${path}/${unknown}`, `${path}?search=unread`, '/api/platform/projects'])
          expect(unread.map(({ status, body }) => [status, body.error?.code])).toEqual(
            unread.map(() => [503, 'REGISTRY_UNAVAILABLE']),
          )
          const [live, ready] = await answersOf(app, ['/health', '/health/ready'])
          expect([live?.status, live?.body, ready?.status, ready?.body]).toEqual([
            200,
            { status: 'ok' },
            200,
            { status: 'degraded' },
          ])
          expect(performance.now() - started).toBeLessThan(second)
          expect(await poll()).toBe(true)

          await withClient(
            direct,
            (sql) => sql`update platform.databases set description = 'changed unheard' where id = ${id}`,
          )
          proxy.mode = 'pass'
          const back = performance.now()
          await eventually(async () => {
            const answer = await app.request('GET', `${path}/${id}`)
            return staleOf(answer) === null && answer.body.description === 'changed unheard'
          })
          await eventually(
            async () => (await app.request('PATCH', `${path}/${id}`, { body: { description: 'y' } })).status === 200,
          )
          console.log(`a registry that ${how}: all works ${Math.round(performance.now() - back)} ms after its return`)
          expect(performance.now() - back).toBeLessThan(5_000)
          expect((await app.request('GET', '/health/ready')).body).toEqual({ status: 'ok' })
        }),
      30_000,
    )
  }

  test('hangs unnoticed: the first to ask waits less than a second, and who asks then not at all', () =>
    serving({}, async (place) => {
      const { app, known, fail } = place
      await warm(place)
      fail('blackhole')
      const silent = performance.now() + 1_000
      await eventually(() => performance.now() > silent)
      for (const most of [second, 100]) {
        const started = performance.now()
        const answers = await answersOf(app, [...known, `${path}/${unknown}`])
        const ms = performance.now() - started
        expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 503])
        expect(answers.map((answer) => staleOf(answer) !== null)).toEqual([true, true, true, false])
        console.log(`answered in ${Math.round(ms)} ms`)
        expect(ms).toBeLessThan(most)
      }
    }))

  test('503, of readiness too, once what was read is older than CACHE_TTL', () =>
    serving({ CACHE_TTL: '2' }, async (place) => {
      const { app, known, fail } = place
      await warm(place)
      fail('refuse-after-accept')
      await eventually(async () => staleOf(await app.request('GET', known[0] ?? '')) !== null)
      const ages = new Set<string | null>()
      await eventually(async () => {
        const answers = await answersOf(app, known)
        for (const answer of answers) if (answer.status === 200) ages.add(staleOf(answer))
        return answers.every(({ status, body }) => status === 503 && body.error.code === 'REGISTRY_UNAVAILABLE')
      }, 4_000)
      expect([...ages].filter((age) => age !== null && Number(age) > 2)).toEqual([])
      const ready = await app.request('GET', '/health/ready')
      expect([ready.status, ready.body]).toEqual([503, { status: 'unavailable' }])
    }))

  test('readiness is 503 where nothing was ever read', () =>
    serving({}, async ({ app, fail }) => {
      fail('refuse-after-accept')
      const ready = await app.request('GET', '/health/ready')
      expect([ready.status, ready.body]).toEqual([503, { status: 'unavailable' }])
      expect((await app.request('GET', '/health')).status).toBe(200)
    }))

  test('a statement that only reads goes on, and one that may write does not', () =>
    serving({}, async ({ app, fail }) => {
      const { user, password, host, port } = stores().postgres18
      const connectionString = `postgresql://${user}:${encodeURIComponent(password)}@${host}:${port}/postgres`
      const { id } = await app.register({ name: newName(), type: 'postgres', connectionString })
      const run = (readOnly: boolean) =>
        app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query: 'select 1 as one', readOnly } })
      await Bun.sleep(300)
      expect([(await run(true)).status, (await run(false)).status]).toEqual([200, 200])
      fail('refuse-after-accept')
      await eventually(async () => staleOf(await run(true)) !== null)
      const [read, write] = [await run(true), await run(false)]
      expect([read.status, read.body.rows, write.status, write.body.error?.code]).toEqual([
        200,
        [{ one: 1 }],
        503,
        'REGISTRY_UNAVAILABLE',
      ])
    }))

  describeWith('mongo', 'and a pipeline of MongoDB', (mongo) => {
    test('goes on where it only reads', () =>
      serving({}, async ({ app, fail }) => {
        const { id } = await app.register({ name: newName(), type: 'mongodb', connectionString: mongo.url })
        const url = `/api/platform/mongodb/${id}/aggregate`
        const run = () =>
          app.request('POST', url, { body: { databaseName: 'registry_down', collection: 'none', pipeline: [] } })
        await Bun.sleep(300)
        const before = await run()
        expect([before.status, staleOf(before)]).toEqual([200, null])
        fail('refuse-after-accept')
        await eventually(async () => staleOf(await run()) !== null)
      }))
  })

  test('a known API key goes on reading, and no further; an unknown one is 503, and never let in', () =>
    serving({}, async (place) => {
      const { app, fail, id, direct, proxy } = place
      const created = []
      for (const role of ['write', 'read']) {
        const body = { name: newName(), projectRef: 'default', role }
        created.push((await app.request('POST', '/api/platform/api-keys', { body })).body.secret as string)
      }
      const [used = '', unused = ''] = created
      const get = (key: string) => app.request('GET', `${path}/${id}`, { key })
      const codes = async (key: string) => {
        const set = { key, body: { key: newName(), value: 'x' } }
        const answers = [await get(key), await app.request('POST', `/api/platform/redis/${id}/set`, set)]
        return answers.map(({ status, body }) => (status === 200 ? 200 : body.error.code))
      }
      expect(await codes(used)).toEqual([200, 200])
      fail('refuse-after-accept')
      await eventually(async () => staleOf(await get(used)) !== null)
      await withClient(direct, (sql) => sql`delete from platform.api_keys`)
      const down = 'REGISTRY_UNAVAILABLE'
      const forged = `${unused.slice(0, -4)}AAAA`
      expect([await codes(used), await codes(unused), await codes(forged)]).toEqual([
        [200, down],
        [down, down],
        [down, down],
      ])
      expect((await get(`${used.slice(0, -4)}AAAA`)).status).not.toBe(200)
      proxy.mode = 'pass'
      await eventually(async () => (await get(used)).status === 401)
    }))

  test('a statement that waits for a lock is slow, and no outage: others are answered, and so is it', () =>
    serving({}, async ({ app, direct }) => {
      const waited = await withClient(direct, (sql) =>
        sql.begin(async (tx) => {
          await tx`lock table platform.databases in access exclusive mode`
          const waiting = app.request('GET', `${path}?search=waits`)
          const until = performance.now() + 1_500
          await eventually(async () => {
            expect((await app.request('GET', '/api/platform/projects')).status).toBe(200)
            return performance.now() > until
          })
          return { waiting }
        }),
      )
      expect((await waited.waiting).status).toBe(200)
    }))

  test('a process that stands still itself takes the registry for nothing but slow', () =>
    serving({}, async ({ app }) => {
      for (let round = 0; round < 3; round++) {
        const asked = [
          app.request('GET', `${path}?search=round-${round}`),
          app.request('GET', '/api/platform/projects'),
        ]
        await Bun.sleep(0)
        const until = performance.now() + 1_200
        while (performance.now() < until);
        expect((await Promise.all(asked)).map(({ status }) => status)).toEqual([200, 200])
        expect((await app.request('GET', '/api/platform/projects')).status).toBe(200)
      }
    }))
})
