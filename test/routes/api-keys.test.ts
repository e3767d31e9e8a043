import { describe, expect, test } from 'bun:test'
import { prefixOf } from '#src/access/api-key-secret.ts'
import {
  describeRegistries,
  eventually,
  inRegistry,
  newestFirst,
  newName,
  path as databases,
} from '#test/registry/registries.ts'
import { type Answer, createScratchDatabase, createTestApp, generousLimits, testKeys } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'

const path = '/api/platform/api-keys'
const projects = '/api/platform/projects'
const unknownId = '00000000-0000-4000-8000-000000000000'
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/)
const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
const secretForm = /bak_[a-z2-7]{12}_/
const codeOf = ({ status, body }: Answer) => [status, body?.error?.code]

describeRegistries('/api-keys', (app) => {
  const create = (more: object = {}, options: { key?: string; headers?: Record<string, string> } = {}) =>
    app().request('POST', path, {
      body: { name: 'reporting', projectRef: 'default', role: 'read', ...more },
      ...options,
    })
  const add = async (more: object = {}, options: { key?: string } = {}) => {
    const answer = await create(more, options)
    if (answer.status !== 201) throw new Error(answer.text)
    return answer.body
  }
  const addProject = async (): Promise<string> => {
    const ref = newName('p')
    const answer = await app().request('POST', projects, { body: { name: 'Shop', ref, organizationSlug: 'default' } })
    if (answer.status !== 201) throw new Error(answer.text)
    return ref
  }
  const addDatabase = async (projectRef = 'default'): Promise<string> => {
    const body = { projectRef, name: newName(), type: 'redis', connectionString: 'redis://store.test' }
    const answer = await app().request('POST', `${databases}?skipTest=true`, { body })
    if (answer.status !== 201) throw new Error(answer.text)
    return answer.body.id
  }
  const read = (id: string, key: string) => app().request('GET', `${databases}/${id}`, { key })

  test('201 with the secret, which no other answer has', async () => {
    const databaseIds = [await addDatabase()]
    const { status, body, headers } = await create({
      databaseIds,
      role: 'write',
      expiresAt: '2100-01-01T01:00:00+01:00',
    })
    const { secret, ...row } = body
    expect([status, headers.get('cache-control'), row]).toEqual([
      201,
      'no-store',
      {
        id: uuid,
        prefix: prefixOf(secret),
        name: 'reporting',
        project_ref: 'default',
        database_ids: databaseIds,
        role: 'write',
        created_by: 'service',
        expires_at: '2100-01-01T00:00:00.000000Z',
        last_used_at: null,
        created_at: timestamp,
      },
    ])
    const list = await app().request('GET', `${path}?projectRef=default`)
    expect(list.body.find(({ id }: { id: string }) => id === row.id)).toEqual(row)
    expect([secretForm.test(list.text), list.text.includes('hash')]).toEqual([false, false])
  })

  test('200 lists pages over Link, of one project', async () => {
    const projectRef = await addProject()
    const added = []
    for (let count = 0; count < 5; count++) added.push(await add({ projectRef }))
    const seen: string[] = []
    let next: string | undefined = `${path}?projectRef=${projectRef}&limit=2`
    while (next !== undefined) {
      const { body, headers } = await app().request('GET', next)
      seen.push(...body.map(({ id }: { id: string }) => id))
      next = /^<(.+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1]
    }
    expect(seen).toEqual(newestFirst(added).map(({ id }) => id))
    expect((await app().request('GET', `${path}?projectRef=nobody`)).body).toEqual([])
  })

  test('404 an unknown project, database, key', async () => {
    const theirs = await addDatabase(await addProject())
    expect([
      codeOf(await create({ projectRef: 'nobody' })),
      codeOf(await create({ databaseIds: [unknownId] })),
      codeOf(await create({ databaseIds: [theirs] })),
      codeOf(await app().request('DELETE', `${path}/${unknownId}`)),
    ]).toEqual([
      [404, 'NOT_FOUND'],
      [404, 'DB_NOT_FOUND'],
      [404, 'DB_NOT_FOUND'],
      [404, 'NOT_FOUND'],
    ])
  })

  describe('400 names the field, and makes no key', () => {
    const notText = [1, true, null, [], {}]
    const table: readonly (readonly [string, ...unknown[]])[] = [
      ['name', '', 'n'.repeat(201), 'a\0', '\ud800', undefined, ...notText],
      ['projectRef', '', 'a b', 'r'.repeat(65), "'; --", undefined, ...notText],
      ['role', '', 'owner', 'READ', undefined, ...notText],
      ['databaseIds', [], null, 'a', {}, unknownId],
      ['databaseIds.0', [1], ['a'], [null], [`${unknownId}'`]],
      ['expiresAt', '', 'tomorrow', '2100-01-01', '2100-01-01T00:00:00', '2000-01-01T00:00:00Z', 4_102_444_800, null],
      ['secret', 'bak_x'],
      ['createdBy', 'service'],
    ]
    for (const [field, ...values] of table) {
      test(field, async () => {
        const [name = '', index] = field.split('.')
        const before = (await app().request('GET', path)).body.length
        for (const value of values) {
          const { status, body } = await create({ [name]: value })
          expect([value, status, body.error.details?.[0].field]).toEqual([value, 400, index ? field : name])
        }
        expect((await app().request('GET', path)).body.length).toBe(before)
      })
    }

    test('queries and paths', async () => {
      const wrong = [
        ['GET', `${path}?limit=0`],
        ['GET', `${path}?cursor=x`],
        ['GET', `${path}?projectRef=a%20b`],
        ['DELETE', `${path}/x`],
      ] as const
      for (const [method, url] of wrong)
        expect([url, ...codeOf(await app().request(method, url))]).toEqual([url, 400, 'VALIDATION_FAILED'])
    })
  })

  test('a repetition with its Idempotency-Key is 409, makes no second key, and nothing of the secret is kept', async () => {
    const projectRef = await addProject()
    const headers = { 'idempotency-key': newName() }
    const first = await create({ projectRef }, { headers })
    const again = await create({ projectRef }, { headers })
    const other = await create({ projectRef, role: 'write' }, { headers })
    expect([first.status, codeOf(again), codeOf(other)]).toEqual([201, [409, 'CONFLICT'], [409, 'CONFLICT']])
    expect([again, other].map(({ text }) => secretForm.test(text))).toEqual([false, false])
    expect((await app().request('GET', `${path}?projectRef=${projectRef}`)).body).toHaveLength(1)
    expect((await read(await addDatabase(projectRef), first.body.secret)).status).toBe(200)
    const kept = await inRegistry(
      app(),
      (sql) => sql`select status, answer from platform.idempotency_keys where key = ${headers['idempotency-key']}`,
    )
    expect([...kept]).toEqual([{ status: 201, answer: null }])
  })

  describe('a key', () => {
    test('opens its databases in each of the three headers, others are 404, and what is no key is 401', async () => {
      const [mine, hidden, elsewhere] = [
        await addDatabase(),
        await addDatabase(),
        await addDatabase(await addProject()),
      ]
      const { secret } = await add({ databaseIds: [mine] })
      const sent = [{ authorization: `Bearer ${secret}` }, { apikey: secret }, { 'x-api-key': secret }]
      for (const headers of sent)
        expect((await app().request('GET', `${databases}/${mine}`, { key: null, headers })).status).toBe(200)
      for (const id of [hidden, elsewhere, unknownId])
        expect(codeOf(await read(id, secret))).toEqual([404, 'DB_NOT_FOUND'])
    })

    test('unknown, wrong, expired and revoked are one answer', async () => {
      const id = await addDatabase()
      const [good, revoked, expiring] = [
        await add(),
        await add(),
        await add({ expiresAt: new Date(Date.now() + 1_000).toISOString() }),
      ]
      for (const { secret } of [revoked, expiring]) expect((await read(id, secret)).status).toBe(200)
      expect((await app().request('DELETE', `${path}/${revoked.id}`)).status).toBe(204)
      await eventually(async () => (await read(id, expiring.secret)).status !== 200, 3_000)
      const last = good.secret.at(-1) === 'A' ? 'E' : 'A'
      const secrets = [
        `${good.secret.slice(0, -1)}${last}`,
        good.secret.replace(good.prefix, 'a'.repeat(12)),
        revoked.secret,
        expiring.secret,
        'x',
      ]
      const answers = await Promise.all(secrets.map((secret) => read(id, secret)))
      const alike = answers.map(({ status, text, body, headers }) => [
        status,
        text.replaceAll(body.error.requestId, 'id'),
        headers.get('www-authenticate'),
      ])
      expect(new Set(alike.map((answer) => JSON.stringify(answer))).size).toBe(1)
      expect(answers.map(codeOf)).toEqual(Array(5).fill([401, 'UNAUTHENTICATED']))
      expect((await app().request('DELETE', `${path}/${revoked.id}`)).status).toBe(404)
    })

    test('of a lesser role manages no keys', async () => {
      for (const role of ['read', 'write']) {
        const { secret: key, id } = await add({ role })
        expect([
          codeOf(await app().request('GET', path, { key })),
          codeOf(await create({}, { key })),
          codeOf(await app().request('DELETE', `${path}/${id}`, { key })),
        ]).toEqual(Array(3).fill([403, 'FORBIDDEN']))
      }
    })

    test('of role admin manages those of its project, up to its own reach; the others do not exist', async () => {
      const [projectRef, other] = [await addProject(), await addProject()]
      const [mine, more] = [await addDatabase(projectRef), await addDatabase(projectRef)]
      const all = await add({ projectRef, role: 'admin' })
      const some = await add({ projectRef, role: 'admin', databaseIds: [mine] }, { key: all.secret })
      const theirs = await add({ projectRef: other })
      const hidden = await create({ projectRef: other }, { key: all.secret })
      const nobody = await create({ projectRef: 'nobody' }, { key: all.secret })
      expect([codeOf(hidden), hidden.body.message]).toEqual([codeOf(nobody), nobody.body.message])
      expect([
        codeOf(hidden),
        codeOf(await app().request('DELETE', `${path}/${theirs.id}`, { key: all.secret })),
        codeOf(await app().request('DELETE', `${path}/${all.id}`, { key: some.secret })),
        codeOf(await create({ projectRef, role: 'admin' }, { key: some.secret })),
        codeOf(await create({ projectRef, databaseIds: [mine, more] }, { key: some.secret })),
      ]).toEqual([
        [404, 'NOT_FOUND'],
        [404, 'NOT_FOUND'],
        [404, 'NOT_FOUND'],
        [403, 'FORBIDDEN'],
        [404, 'DB_NOT_FOUND'],
      ])
      const made = await add({ projectRef, databaseIds: [mine] }, { key: some.secret })
      expect([made.created_by, (await read(mine, made.secret)).status]).toEqual([`key:${some.id}`, 200])
      const seen = async (key: string, query = '') =>
        (await app().request('GET', `${path}${query}`, { key })).body.map(({ id }: { id: string }) => id).sort()
      expect(await seen(all.secret)).toEqual([all.id, some.id, made.id].sort())
      expect(await seen(some.secret)).toEqual([some.id, made.id].sort())
      expect(await seen(all.secret, `?projectRef=${other}`)).toEqual([])
      expect((await app().request('DELETE', `${path}/${made.id}`, { key: some.secret })).status).toBe(204)
      expect((await read(mine, made.secret)).status).toBe(401)
    })

    test('goes with its project', async () => {
      const projectRef = await addProject()
      const { secret } = await add({ projectRef })
      expect((await app().request('GET', `${databases}?projectRef=${projectRef}`, { key: secret })).status).toBe(200)
      await app().request('DELETE', `${projects}/${projectRef}`)
      await eventually(async () => (await app().request('GET', databases, { key: secret })).status === 401, 1_000)
    })

    test('its use is noted', async () => {
      const projectRef = await addProject()
      const { secret } = await add({ projectRef })
      await app().request('GET', databases, { key: secret })
      await eventually(async () => {
        const [row] = (await app().request('GET', `${path}?projectRef=${projectRef}`)).body
        return Math.abs(Date.parse(row.last_used_at ?? '') - Date.now()) < 60_000
      })
    })
  })

  test('a secret is in the answer that made its key, and in no other answer or log line', async () => {
    const { secret } = await add()
    await read(unknownId, secret)
    await app().request('GET', `${databases}/${secret}`, { key: secret })
    const holding = app().transcript.filter((line) => secretForm.test(line) && !line.startsWith(`POST ${path} `))
    expect(
      holding.filter((line) => !line.startsWith(`GET ${databases}/bak_`) || line.split(secret).length > 2),
    ).toEqual([])
    expect(app().logLines.filter((line) => secretForm.test(line))).toEqual([])
  })
})

test('401 within a second on every instance once a key is revoked on one', async () => {
  await using scratch = await createScratchDatabase(stores().postgres18)
  const keys = testKeys()
  const env = { ...keys, ...generousLimits, DATABASE_URL: scratch.url }
  await using one = await createTestApp({ registry: 'postgres18', env })
  await using other = await createTestApp({ registry: 'postgres18', env })
  const key = keys.BUN_API_KEY
  const body = { name: 'reporting', projectRef: 'default', role: 'read' }
  for (let round = 0; round < 3; round++) {
    const made = (await one.request('POST', path, { body, key })).body
    const ask = async () => (await other.request('GET', databases, { key: made.secret })).status
    expect([await ask(), await ask()]).toEqual([200, 200])
    expect((await one.request('DELETE', `${path}/${made.id}`, { key })).status).toBe(204)
    const started = performance.now()
    await eventually(async () => (await ask()) === 401, 1_000)
    console.log(`revocation was noticed elsewhere after ${Math.round(performance.now() - started)} ms`)
    expect((await one.request('GET', databases, { key: made.secret })).status).toBe(401)
  }
})
