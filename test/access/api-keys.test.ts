import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { prefixOf } from '#src/access/api-key-secret.ts'
import { type ApiKey, serviceKey, type User } from '#src/access/principal.ts'
import { describeRegistries, eventually, newestFirst, newName } from '#test/registry/registries.ts'
import { type Instance, openInstance, wanted } from './api-keys-instance.ts'

const unknownId = '00000000-0000-4000-8000-000000000000'
const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
const codeOf = (error: { code?: unknown }) => error.code

test('a secret is `bak_`, 12 characters of base32 and 32 bytes; other text is none', () => {
  const [prefix, rest] = ['abcdefgh2345', 'A'.repeat(43)]
  const texts = [
    `bak_${prefix}_${rest}`,
    `bak_${prefix}_${rest}A`,
    `bak_${prefix}_${rest.slice(1)}`,
    `bak_${prefix}.${rest}`,
    `bak_ABCDEFGH2345_${rest}`,
    `BAK_${prefix}_${rest}`,
    `bak_${prefix}_${rest}\n`,
    ` bak_${prefix}_${rest}`,
    `bak_${prefix}_${'é'.repeat(43)}`,
    prefix,
    '',
  ]
  expect(texts.map(prefixOf)).toEqual([prefix, ...Array(10).fill(undefined)])
})

describeRegistries('API keys', (app, kind) => {
  let instance: Instance
  let now = Date.now()
  beforeAll(async () => {
    instance = openInstance(app(), { now: () => now })
    await eventually(() => instance.changes.live)
  })
  afterAll(() => instance?.[Symbol.asyncDispose]())

  const create = (more = {}) => instance.keys.create(serviceKey, wanted(more))
  const addProject = async () => {
    const body = { name: 'Other', ref: newName(), organizationSlug: 'default' }
    const answer = await app().request('POST', '/api/platform/projects', { body })
    if (answer.status !== 201) throw new Error(answer.text)
    return answer.body as { id: string; ref: string }
  }
  const addDatabase = async (projectRef = 'default'): Promise<string> => {
    const body = { projectRef, name: newName(), type: 'redis', connectionString: 'redis://store.test' }
    const answer = await app().request('POST', '/api/platform/databases?skipTest=true', { body })
    if (answer.status !== 201) throw new Error(answer.text)
    return answer.body.id
  }
  const principal = async (secret: string): Promise<ApiKey> => {
    const found = await instance.keys.find(secret)
    if (found === undefined) throw new Error('the key opens nothing')
    return found
  }

  test('what is made is found by its secret, the first time from the registry, then from memory', async () => {
    const databaseIds = [await addDatabase(), await addDatabase()].sort()
    const expiresAt = new Date(now + 86_400_000).toISOString()
    const { secret, ...row } = await create({ databaseIds, role: 'write', expiresAt })
    expect(row).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      prefix: prefixOf(secret) ?? 'none',
      name: 'reporting',
      project_ref: 'default',
      database_ids: databaseIds,
      role: 'write',
      created_by: 'service',
      expires_at: expiresAt.replace('Z', '000Z'),
      last_used_at: null,
      created_at: timestamp,
    })
    const before = instance.reads()
    expect(instance.keys.peek(secret)).toBe(undefined)
    const found = await instance.keys.find(secret)
    expect(found).toEqual({
      kind: 'key',
      id: row.id,
      projectId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      projectRef: 'default',
      databaseIds,
      role: 'write',
      expiresAt: Date.parse(expiresAt),
    })
    expect([instance.keys.peek(secret), await instance.keys.find(secret), instance.reads() - before]).toEqual([
      found,
      found,
      1,
    ])
  })

  test('unknown, wrong, revoked and expired are alike, from memory and from the registry', async () => {
    const [good, gone, old] = [await create(), await create(), await create({ expiresAt: isoIn(60_000) })]
    const last = good.secret.at(-1) === 'A' ? 'E' : 'A'
    const wrong = [
      `${good.secret.slice(0, -1)}${last}`,
      good.secret.replace(good.prefix, gone.prefix),
      good.secret.replace(good.prefix, 'a'.repeat(12)),
      good.prefix,
      '',
    ]
    await instance.keys.find(gone.secret)
    await instance.keys.find(old.secret)
    await instance.keys.revoke(serviceKey, gone.id)
    now += 60_000
    const ask = () => Promise.all([...wrong, gone.secret, old.secret].map((secret) => instance.keys.find(secret)))
    expect(await ask()).toEqual(Array(7).fill(undefined))
    expect(await principal(good.secret)).toMatchObject({ id: good.id })
    expect([wrong[0] ?? '', old.secret].map((secret) => instance.keys.peek(secret))).toEqual(['wrong', 'wrong'])
    expect(await ask()).toEqual(Array(7).fill(undefined))
    expect(instance.keys.peek(good.secret)).toMatchObject({ id: good.id })
  })

  test('the last bit of a secret counts', async () => {
    const { secret } = await create()
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const others = [...alphabet].map((letter) => secret.slice(0, -1) + letter).filter((other) => other !== secret)
    await instance.keys.find(secret)
    expect(others.map((other) => instance.keys.peek(other))).toEqual(Array(63).fill('wrong'))
  })

  test('it expires on its millisecond, also while it is in memory', async () => {
    const { secret, id } = await create({ expiresAt: isoIn(1_000) })
    const until = now + 1_000
    now = until - 1
    expect([(await instance.keys.find(secret))?.id, instance.keys.peek(secret)]).toEqual([
      id,
      expect.objectContaining({ id }),
    ])
    now = until
    expect([await instance.keys.find(secret), instance.keys.peek(secret)]).toEqual([undefined, 'wrong'])
    expect(await create({ expiresAt: isoIn(0) }).catch(codeOf)).toBe('VALIDATION_FAILED')
  })

  test('the table holds a hash: no secret, nor what makes one of it', async () => {
    const { secret, id } = await create()
    await instance.keys.find(secret)
    const [row] = await instance.database.use((sql) => sql`select * from platform.api_keys where id = ${id}`)
    const { hash, kid } = row as Readonly<Record<string, string>>
    expect([hash?.length, kid]).toEqual([43, app().deps.keyring.current().kid])
    const random = secret.split('_').slice(2).join('_')
    const digests = [secret, random].map((text) => Buffer.from(Bun.SHA256.hash(text) as Uint8Array))
    const tellsIt = [
      secret,
      random,
      ...digests.flatMap((bytes) => [bytes.toString('base64url'), bytes.toString('hex')]),
    ]
    expect(tellsIt.filter((text) => JSON.stringify(row).includes(text))).toEqual([])
  })

  test('404 an unknown project; DB_NOT_FOUND a database that is unknown or of another project', async () => {
    const other = await addProject()
    const [mine, theirs] = [await addDatabase(), await addDatabase(other.ref)]
    const refused = [
      create({ projectRef: 'nobody' }),
      create({ databaseIds: [unknownId] }),
      create({ databaseIds: [mine, theirs] }),
      create({ projectRef: 'nobody', databaseIds: [mine] }),
    ]
    expect(await Promise.all(refused.map((one) => one.catch(codeOf)))).toEqual([
      'NOT_FOUND',
      'DB_NOT_FOUND',
      'DB_NOT_FOUND',
      'NOT_FOUND',
    ])
    expect(await instance.keys.list(serviceKey, { limit: 10, projectRef: other.ref })).toEqual([])
  })

  test('a database that goes leaves the key, which has one less; it is never all of them', async () => {
    const ids = [await addDatabase(), await addDatabase()].sort()
    const { secret, id } = await create({ databaseIds: ids })
    for (const gone of ids) {
      await app().request('DELETE', `/api/platform/databases/${gone}`)
      instance.keys.forgetAll()
      const left = gone === ids[0] ? [ids[1]] : []
      const row = (await instance.keys.list(serviceKey, { limit: 1_000 })).find((one) => one.id === id)
      expect([(await principal(secret)).databaseIds as unknown, row?.database_ids as unknown]).toEqual([left, left])
    }
  })

  test('a project that goes takes its keys with it', async () => {
    const { ref } = await addProject()
    const { secret, id } = await create({ projectRef: ref })
    await principal(secret)
    await app().request('DELETE', `/api/platform/projects/${ref}`)
    instance.keys.forgetAll()
    expect([await instance.keys.find(secret), await instance.keys.revoke(serviceKey, id)]).toEqual([undefined, false])
  })

  test('lists are newest first, of a project where one is asked for, without secret and hash', async () => {
    const { ref } = await addProject()
    const made = []
    for (let count = 0; count < 5; count++) made.push(await create({ projectRef: ref }))
    const rows = newestFirst(made).map(({ secret: _secret, ...row }) => row)
    const first = await instance.keys.list(serviceKey, { limit: 3, projectRef: ref })
    expect(first).toEqual(rows.slice(0, 3))
    const after = { createdAt: rows[2]?.created_at ?? '', id: rows[2]?.id ?? '' }
    expect(await instance.keys.list(serviceKey, { limit: 3, projectRef: ref, after })).toEqual(rows.slice(3))
  })

  test('a use is noted at most once a minute, in the background and together with others', async () => {
    await using noting = openInstance(app(), { beside: instance, gatherMs: 20, now: () => now })
    const [one, other] = [await create(), await create()]
    const used = async () => {
      const rows = await instance.keys.list(serviceKey, { limit: 1_000 })
      const at = (id: string) => Date.parse(rows.find((row) => row.id === id)?.last_used_at ?? '') || undefined
      return [at(one.id), at(other.id)]
    }
    const first = now
    for (const { secret } of [one, other, one]) await noting.keys.find(secret)
    await eventually(async () => Bun.deepEquals(await used(), [first, first]))
    now += 59_999
    await noting.keys.find(one.secret)
    now += 1
    await noting.keys.find(other.secret)
    await eventually(async () => Bun.deepEquals(await used(), [first, now]))
  })

  test('the note of a use is no change: the key stays in memory', async () => {
    const [noted, gone] = [await create(), await create()]
    for (const { secret } of [noted, gone]) await principal(secret)
    await instance.store.noteUses(new Map([[noted.id, now]]))
    await instance.store.remove(gone.id, { projectIds: null, databaseIds: null })
    await eventually(() => instance.keys.peek(gone.secret) === undefined)
    expect(instance.keys.peek(noted.secret)).toMatchObject({ id: noted.id })
  })

  test('the last uses are noted when the server ends', async () => {
    const ending = openInstance(app(), { beside: instance, now: () => now })
    const { secret, id } = await create()
    await ending.keys.find(secret)
    await ending[Symbol.asyncDispose]()
    const row = (await instance.keys.list(serviceKey, { limit: 1_000 })).find((one) => one.id === id)
    expect(Date.parse(row?.last_used_at ?? '')).toBe(now)
  })

  describe('an admin key', () => {
    const admin = async (more = {}) => principal((await create({ role: 'admin', ...more })).secret)

    test('makes keys of its own project, up to its own role, and sees and revokes them', async () => {
      const other = await addProject()
      const [own, theirs] = [await admin({ projectRef: other.ref }), await create()]
      const { secret, ...made } = await instance.keys.create(own, wanted({ projectRef: other.ref, role: 'admin' }))
      expect([made.created_by, await principal(secret)]).toMatchObject([`key:${own.id}`, { role: 'admin' }])
      const seen = await instance.keys.list(own, { limit: 10 })
      expect(seen.map(({ id }) => id).sort()).toEqual([made.id, own.id].sort())
      expect(await instance.keys.list(own, { limit: 10, projectRef: 'default' })).toEqual([])
      expect(await instance.keys.create(own, wanted()).catch(codeOf)).toBe('NOT_FOUND')
      const revoked = []
      for (const id of [theirs.id, made.id, made.id]) revoked.push(await instance.keys.revoke(own, id))
      expect(revoked).toEqual([false, true, false])
      expect(await principal(theirs.secret)).toMatchObject({ id: theirs.id })
    })

    test('of some databases never reaches others, nor all', async () => {
      const [mine, theirs] = [await addDatabase(), await addDatabase()]
      const own = await admin({ databaseIds: [mine] })
      const [all, both] = [await create(), await create({ databaseIds: [mine, theirs] })]
      const make = (more: object) => instance.keys.create(own, wanted(more)).catch(codeOf)
      expect([
        await make({}),
        await make({ databaseIds: [theirs] }),
        await make({ databaseIds: [mine, theirs] }),
        await make({ databaseIds: [unknownId] }),
        await make({ databaseIds: [mine] }),
      ]).toEqual([
        'FORBIDDEN',
        'DB_NOT_FOUND',
        'DB_NOT_FOUND',
        'DB_NOT_FOUND',
        expect.objectContaining({ database_ids: [mine] }),
      ])
      expect((await instance.keys.list(own, { limit: 10 })).map((row) => row.database_ids)).toEqual([[mine], [mine]])
      expect([await instance.keys.revoke(own, all.id), await instance.keys.revoke(own, both.id)]).toEqual([
        false,
        false,
      ])
    })

    test('still manages its own when one of its databases is gone', async () => {
      const ids = [await addDatabase(), await addDatabase()]
      const { secret, id } = await create({ role: 'admin', databaseIds: ids })
      await app().request('DELETE', `/api/platform/databases/${ids[0]}`)
      const own = await principal(secret)
      const seen = await instance.keys.list(own, { limit: 10 })
      expect(seen.map((row) => [row.id, row.database_ids] as unknown)).toEqual([[id, [ids[1]]]])
      expect(await instance.keys.revoke(own, id)).toBe(true)
    })

    test('makes none that outlives it', async () => {
      const own = await admin({ expiresAt: isoIn(60_000) })
      const make = (expiresAt: string | null) => instance.keys.create(own, wanted({ expiresAt })).catch(codeOf)
      expect([await make(null), await make(isoIn(60_001)), await make(isoIn(60_000))]).toEqual([
        'FORBIDDEN',
        'FORBIDDEN',
        expect.objectContaining({ created_by: `key:${own.id}` }),
      ])
    })
  })

  test('a key of a lesser role, and nobody, make, see and revoke none', async () => {
    const { id } = await create()
    const few = await Promise.all(
      (['read', 'write'] as const).map(async (role) => principal((await create({ role })).secret)),
    )
    for (const one of [...few, { kind: 'anonymous', id: 'anonymous' } as const]) {
      expect([
        await instance.keys.create(one, wanted()).catch(codeOf),
        await instance.keys.list(one, { limit: 10 }),
        await instance.keys.revoke(one, id),
      ]).toEqual(['FORBIDDEN', [], false])
    }
  })

  test('a user manages the keys of the projects they are admin of', async () => {
    const [mine, theirs] = [await addProject(), await addProject()]
    const projects = new Map([
      [mine.id, 'admin'],
      [theirs.id, 'write'],
    ] as const)
    await using users = openInstance(app(), {
      beside: instance,
      grantsOf: async () => ({ projects, databases: new Map() }),
    })
    const user: User = { kind: 'user', id: 'u1', expiresAt: now + 60_000 }
    const made = await users.keys.create(user, wanted({ projectRef: mine.ref, role: 'admin' }))
    expect(made.created_by).toBe('user:u1')
    expect(await users.keys.create(user, wanted({ projectRef: theirs.ref })).catch(codeOf)).toBe('NOT_FOUND')
    const hidden = await create({ projectRef: theirs.ref })
    expect((await users.keys.list(user, { limit: 10 })).map(({ id }) => id)).toEqual([made.id])
    expect([await users.keys.revoke(user, hidden.id), await users.keys.revoke(user, made.id)]).toEqual([false, true])
  })

  test(`no log line of ${kind} held a secret`, async () => {
    const { secret } = await create()
    await principal(secret)
    await instance.keys.find(secret.replace(/.$/, '*'))
    const lines = [...instance.logLines, ...app().logLines, ...app().transcript]
    expect(lines.filter((line) => /bak_[a-z2-7]{12}_/.test(line))).toEqual([])
  })

  function isoIn(ms: number): string {
    return new Date(now + ms).toISOString()
  }
})
