import { describe, expect, test } from 'bun:test'
import { describeRegistries, eventually, inRegistry, newName, path } from '#test/registry/registries.ts'
import { type Answer, createTestApp, type RequestOptions, type TestApp } from '#test/support/app.ts'
import { canary, testPassword } from '#test/support/credentials.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'

const { redis, postgres18 } = stores()
const skipTest = `${path}?skipTest=true`

/** A POST with a key. */
function post(app: TestApp, url: string, key: string, body?: unknown, options: RequestOptions = {}): Promise<Answer> {
  const headers = { 'idempotency-key': key, ...options.headers }
  return app.request('POST', url, { ...options, ...(body === undefined ? {} : { body }), headers })
}

const replayed = ({ headers }: Answer) => headers.get('idempotency-replayed')
const codeOf = ({ status, body, headers }: Answer) => [status, body?.error?.code, headers.get('retry-after')]
const named = (name: string) => ({
  projectRef: 'default',
  name,
  type: 'redis',
  connectionString: `redis://:${testPassword()}@store.test`,
})
const setCreatedBack = (app: TestApp, key: string, interval: string) =>
  inRegistry(
    app,
    (sql) =>
      sql`update platform.idempotency_keys set created_at = now() - ${interval}::text::interval where key = ${key}`,
  )

describeRegistries(
  'Idempotency-Key',
  (get, kind) => {
    const databases = async (name: string) => (await get().request('GET', `${path}?search=${name}`)).body.length

    test('201 again, with the same body and headers, and a request id of its own', async () => {
      const [key, name] = [newName(), newName()]
      const body = named(name)
      const first = await post(get(), skipTest, key, body)
      const second = await post(get(), skipTest, key, body)
      const kept = ({ status, text, headers }: Answer) => [
        status,
        text,
        ...['location', 'etag', 'content-type'].map((header) => headers.get(header)),
      ]
      expect(kept(second)).toEqual(kept(first))
      expect([first.status, replayed(first), replayed(second)]).toEqual([201, null, 'true'])
      expect(second.headers.get('x-request-id')).not.toBe(first.headers.get('x-request-id'))
      expect(second.headers.get('cache-control')).toBe('no-store')
      expect(await databases(name)).toBe(1)
    })

    test('409 with another body', async () => {
      const [key, name] = [newName(), newName()]
      await post(get(), skipTest, key, named(name))
      const other = newName()
      expect([codeOf(await post(get(), skipTest, key, named(other))), await databases(other)]).toEqual([
        [409, 'CONFLICT', null],
        0,
      ])
    })

    test('of 20 at once one creates, and the others are its answer or 409 with Retry-After', async () => {
      const [key, name] = [newName(), newName()]
      const body = named(name)
      const answers = await Promise.all(Array.from({ length: 20 }, () => post(get(), skipTest, key, body)))
      const created = answers.filter(({ status }) => status === 201)
      expect(new Set(created.map(({ body: row }) => row.id)).size).toBe(1)
      expect(created.filter((answer) => replayed(answer) === null)).toHaveLength(1)
      for (const answer of answers.filter(({ status }) => status !== 201))
        expect([codeOf(answer), answer.body.error.retryable]).toEqual([[409, 'CONFLICT', '1'], true])
      expect(await databases(name)).toBe(1)
    })

    test('a key is of its route and query alone', async () => {
      const key = newName()
      const body = { slug: newName(), name: 'Some' }
      const project = { ref: newName(), name: 'Some', organizationSlug: 'default' }
      const answers = [
        await post(get(), '/api/platform/organizations', key, body),
        await post(get(), '/api/platform/projects', key, project),
        await post(get(), skipTest, key, named(newName())),
        await post(get(), `${path}?skipTest=1`, key, named(newName())),
        await post(get(), `${path}/test`, key, { type: 'redis', connectionString: 'redis://127.0.0.1:1' }),
      ]
      expect(answers.map((answer) => [answer.status, replayed(answer)])).toEqual([
        [201, null],
        [201, null],
        [201, null],
        [201, null],
        [200, null],
      ])
      const again = await post(get(), `${path}/test`, key, { type: 'redis', connectionString: 'redis://127.0.0.1:1' })
      expect([again.text, replayed(again)]).toEqual([answers[4]?.text ?? '', 'true'])
    })

    test('400 is not kept: corrected, the same key works', async () => {
      const [key, name] = [newName(), newName()]
      const wrong = [{ ...named(name), type: 'none' }, '{"name":', '[]']
      for (const body of wrong) {
        const answer = await post(get(), skipTest, key, body)
        expect([answer.status, replayed(answer)]).toEqual([400, null])
      }
      expect([(await post(get(), skipTest, key, named(name))).status, await databases(name)]).toEqual([201, 1])
    })

    test('409 a taken name is kept, also when the name is free again', async () => {
      const name = newName()
      const { id } = (await post(get(), skipTest, newName(), named(name))).body
      const key = newName()
      const body = named(name)
      const first = await post(get(), skipTest, key, body)
      await get().request('DELETE', `${path}/${id}`)
      const second = await post(get(), skipTest, key, body)
      expect([codeOf(first), replayed(first), codeOf(second), replayed(second)]).toEqual([
        [409, 'CONFLICT', null],
        null,
        [409, 'CONFLICT', null],
        'true',
      ])
    })

    test('after 24 hours the key is as new', async () => {
      const [key, name] = [newName(), newName()]
      await post(get(), skipTest, key, named(name))
      await setCreatedBack(get(), key, '25 hours')
      const other = await post(get(), skipTest, key, named(newName()))
      expect([other.status, replayed(other)]).toEqual([201, null])
    })

    test('a first request that never ended holds the key for its time, then it runs again', async () => {
      const [key, name] = [newName(), newName()]
      const body = named(name)
      await post(get(), skipTest, key, body)
      await get().request('DELETE', `${path}/${(await get().request('GET', `${path}?search=${name}`)).body[0].id}`)
      await inRegistry(
        get(),
        (sql) => sql`update platform.idempotency_keys set status = null, answer = null where key = ${key}`,
      )
      expect(codeOf(await post(get(), skipTest, key, body))).toEqual([409, 'CONFLICT', '1'])
      await setCreatedBack(get(), key, '5 minutes')
      const taken = await post(get(), skipTest, key, body)
      expect([taken.status, replayed(taken), await databases(name)]).toEqual([201, null, 1])
    })

    test('400 a key that is none', async () => {
      for (const key of ['', 'k'.repeat(256), 'two words', 'Schlüssel']) {
        const { status, body } = await post(get(), skipTest, key, named(newName()))
        expect([status, body.error.code, body.error.details[0].field]).toEqual([
          400,
          'VALIDATION_FAILED',
          'Idempotency-Key',
        ])
      }
      expect((await post(get(), skipTest, 'k'.repeat(255), named(newName()))).status).toBe(201)
    })

    test('401 takes no key', async () => {
      const key = newName()
      expect((await post(get(), skipTest, key, named(newName()), { key: null })).status).toBe(401)
      expect((await post(get(), skipTest, key, named(newName()))).status).toBe(201)
    })

    test('GET, PATCH and DELETE take no notice of it', async () => {
      const headers = { 'idempotency-key': newName() }
      const { id } = (await get().request('POST', skipTest, { body: named(newName()) })).body
      const one = `${path}/${id}`
      const patch = (description: string) => get().request('PATCH', one, { headers, body: { description } })
      const answers = [
        await get().request('GET', one, { headers }),
        await patch('one'),
        await patch('two'),
        await get().request('GET', one, { headers }),
        await get().request('DELETE', one, { headers }),
        await get().request('DELETE', one, { headers }),
      ]
      expect(answers.map((answer) => [answer.status, answer.body?.description, replayed(answer)])).toEqual([
        [200, null, null],
        [200, 'one', null],
        [200, 'two', null],
        [200, 'two', null],
        [204, undefined, null],
        [404, undefined, null],
      ])
    })

    test('answers are sealed in the registry: no name, no host and no credential', async () => {
      const [key, name] = [newName(), newName()]
      await post(get(), skipTest, key, named(name))
      const dump = await inRegistry(get(), async (sql) =>
        JSON.stringify(await sql`select scope, body_hash, status, answer, created_at from platform.idempotency_keys`),
      )
      expect([
        dump.includes(name),
        dump.includes('store.test'),
        dump.includes(canary),
        dump.includes('enc:v1:'),
      ]).toEqual([false, false, false, true])
    })

    test('409 an answer whose sealing key is gone, and one that was changed', async () => {
      const key = newName()
      const body = named(newName())
      await post(get(), skipTest, key, body)
      await inRegistry(
        get(),
        (sql) => sql`
        update platform.idempotency_keys set answer = regexp_replace(answer, '^enc:v1:[0-9a-f]{8}', 'enc:v1:00000000')
        where key = ${key}`,
      )
      expect(codeOf(await post(get(), skipTest, key, body))).toEqual([409, 'CONFLICT', null])
    })

    test.skipIf(kind === 'embedded')(
      'an answer that can not be kept is the answer all the same',
      async () => {
        const [key, name] = [newName(), newName()]
        const body = named(name)
        let answer: Promise<Answer> | undefined
        await using proxy = await startFaultProxy(postgres18.host, postgres18.port)
        proxy.mode = 'blackhole'
        const url = new URL(postgres18.url)
        url.host = `127.0.0.1:${proxy.port}`
        const slow = { ...body, type: 'postgres', connectionString: url.href }
        await inRegistry(get(), (sql) =>
          sql.begin(async (tx) => {
            answer = post(get(), path, key, slow)
            await eventually(
              async () =>
                (await tx`select 1 from platform.idempotency_keys where key = ${key} for update`).length === 1,
            )
            proxy.mode = 'pass'
            expect([(await answer).status, (await answer).body.name]).toEqual([201, name])
            // The statement that was given up ends by its cancelling, or it would still be done.
            const waiting = () =>
              inRegistry(
                get(),
                (sql) =>
                  sql`select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
              )
            await eventually(async () => (await waiting()).length === 0)
          }),
        )
        expect(codeOf(await post(get(), path, key, slow))).toEqual([409, 'CONFLICT', '1'])
        expect(get().logLines.join()).toContain('an answer was not kept for its Idempotency-Key')
      },
      20_000,
    )
  },
  { env: { REGISTRY_TIMEOUT_MS: '2000' } },
)

describe.skipIf(redis === null)('Idempotency-Key of POSTs to a database', () => {
  const withApp = async (work: (app: TestApp) => Promise<void>, env: Readonly<Record<string, string>> = {}) => {
    await using app = await createTestApp({ registry: 'postgres18', env })
    await work(app)
  }
  const addPostgres = async (app: TestApp): Promise<string> =>
    (await app.register({ name: newName(), type: 'postgres', connectionString: postgres18.url })).id

  test('a Redis write runs once', () =>
    withApp(async (app) => {
      const { id } = await app.register({ name: newName(), type: 'redis', connectionString: redis?.url })
      const [key, body] = [newName(), { key: newName(), value: 'v', nx: true }]
      const set = `/api/platform/redis/${id}/set`
      const answers = [
        await post(app, set, key, body),
        await post(app, set, key, body),
        await post(app, set, newName(), body),
      ]
      expect(answers.map((answer) => [answer.status, answer.body.written, replayed(answer)])).toEqual([
        [200, true, null],
        [200, true, 'true'],
        [200, false, null],
      ])
    }))

  test('a PostgreSQL statement and a test of a connection run once', () =>
    withApp(async (app) => {
      const id = await addPostgres(app)
      const key = newName()
      const body = { query: 'select gen_random_uuid()::text as id' }
      const query = `/api/platform/postgres/${id}/query`
      const [one, two, other] = [
        await post(app, query, key, body),
        await post(app, query, key, body),
        await post(app, query, newName(), body),
      ]
      expect([one.status, two.text === one.text, other.text === one.text]).toEqual([200, true, false])
      const [tested, again] = [await post(app, `${path}/${id}/test`, key), await post(app, `${path}/${id}/test`, key)]
      expect([tested.body.ok, replayed(tested), again.text === tested.text, replayed(again)]).toEqual([
        true,
        null,
        true,
        'true',
      ])
    }))

  test('409 the repetition of what was answered with more than 1 MiB', () =>
    withApp(async (app) => {
      const id = await addPostgres(app)
      const key = newName()
      const body = { query: "select repeat('ü', 1000) as text from generate_series(1, 600)" }
      const query = `/api/platform/postgres/${id}/query`
      const first = await post(app, query, key, body)
      const second = await post(app, query, key, body)
      expect([first.status, Buffer.byteLength(first.text) > 1_048_576]).toEqual([200, true])
      expect([codeOf(second), second.body.error.message]).toEqual([
        [409, 'CONFLICT', null],
        'The first request with this key was done, but its answer is not kept.',
      ])
    }))

  test('503 is not kept, 504 of a write is: nobody knows whether it took effect', () =>
    withApp(
      async (app) => {
        await using proxy = await startFaultProxy(redis?.host ?? '', redis?.port ?? 0)
        const connectionString = `redis://:${redis?.password}@127.0.0.1:${proxy.port}/3`
        const { id } = await app.register({ name: newName(), type: 'redis', connectionString })
        const set = `/api/platform/redis/${id}/set`
        const [key, body] = [newName(), { key: newName(), value: 'v' }]
        proxy.mode = 'refuse-after-accept'
        expect(codeOf(await post(app, set, key, body))).toEqual([503, 'DB_CONNECTION_FAILED', '2'])
        proxy.mode = 'pass'
        await eventually(async () => (await post(app, set, key, body)).status === 200)
        const late = newName()
        proxy.mode = 'blackhole'
        const unknown = await post(app, set, late, body)
        proxy.mode = 'pass'
        const again = await post(app, set, late, body)
        expect([codeOf(unknown), replayed(unknown), codeOf(again), replayed(again)]).toEqual([
          [504, 'DB_TIMEOUT', null],
          null,
          [504, 'DB_TIMEOUT', null],
          'true',
        ])
      },
      { REDIS_COMMAND_TIMEOUT_MS: '300' },
    ))

  test('503 before anything runs while keys can not be taken', () =>
    withApp(
      async (app) => {
        const { id } = await app.register({ name: newName(), type: 'redis', connectionString: redis?.url })
        const body = { key: newName(), value: 'v' }
        const get = () => app.request('GET', `/api/platform/redis/${id}/get?key=${body.key}`)
        expect((await get()).status).toBe(404)
        await inRegistry(app, (sql) =>
          sql.begin(async (tx) => {
            await tx`lock table platform.idempotency_keys in access exclusive mode`
            const answer = await post(app, `/api/platform/redis/${id}/set`, newName(), body)
            expect(codeOf(answer)).toEqual([503, 'REGISTRY_UNAVAILABLE', '2'])
          }),
        )
        expect((await get()).status).toBe(404)
        expect((await post(app, `/api/platform/redis/${id}/set`, newName(), body)).status).toBe(200)
      },
      { REGISTRY_TIMEOUT_MS: '500' },
    ))
})
