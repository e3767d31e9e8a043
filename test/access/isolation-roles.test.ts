import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Role } from '#src/access/principal.ts'
import { newName, path as databases } from '#test/registry/registries.ts'
import { createScratchDatabase } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { bearer, openWorld, type World } from './walk-world.ts'

let world: World
beforeAll(async () => {
  world = await openWorld({ EGRESS_DENY: '' })
})
afterAll(() => world?.[Symbol.asyncDispose]())

type Headers = Readonly<Record<string, string>>

/** A database of a real store, and a key and a user of each role on it. */
async function callersOf(type: string, connectionString: string) {
  const { app, key, token } = world
  const { id } = await app.register({ name: newName(), type, connectionString })
  const callers: Record<string, { readonly role: Role; readonly headers: Headers }> = {}
  for (const role of ['read', 'write', 'admin'] as const) {
    const user = crypto.randomUUID()
    await app.request('PUT', `${databases}/${id}/permissions/${user}`, { body: { role } })
    const { secret } = await key({ role, ref: 'default', databaseIds: [id] })
    const forwarded = { ...bearer(app.key), 'x-forwarded-authorization': `Bearer ${await token(user)}` }
    callers[`a key of role ${role}`] = { role, headers: bearer(secret) }
    callers[`a user of role ${role}`] = { role, headers: bearer(await token(user)) }
    callers[`the service key for a user of role ${role}`] = { role, headers: forwarded }
  }
  return { id, callers }
}

/** Status and code of every caller's answer, by caller. */
async function ask(
  callers: Awaited<ReturnType<typeof callersOf>>['callers'],
  method: string,
  url: string,
  body?: unknown,
): Promise<Readonly<Record<string, string>>> {
  const answers = Object.entries(callers).map(async ([name, { headers }]) => {
    const answer = await world.app.request(method, url, { key: null, headers, body })
    return [name, [answer.status, answer.body?.error?.code].filter(Boolean).join(' ')] as const
  })
  return Object.fromEntries(await Promise.all(answers))
}

/** What each caller should be answered, by its role. */
function byRole(
  callers: Awaited<ReturnType<typeof callersOf>>['callers'],
  answers: Readonly<Record<Role, string>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(callers).map(([name, { role }]) => [name, answers[role]]))
}

const forbidden = '403 FORBIDDEN'
const readOnly = '403 DB_READ_ONLY'

describeWith('redis', 'the role on a Redis', (store) => {
  test('read reads and writes nothing; write writes', async () => {
    const { id, callers } = await callersOf('redis', store.url)
    const key = newName('roles')
    const base = `/api/platform/redis/${id}`
    const body = { key, value: 'by a caller', ttlMs: 60_000 }
    const readers = Object.fromEntries(Object.entries(callers).filter(([, { role }]) => role === 'read'))
    expect(await ask(readers, 'POST', `${base}/set`, body)).toEqual(
      byRole(readers, { read: forbidden, write: '', admin: '' }),
    )
    expect(await ask(readers, 'GET', `${base}/get?key=${key}`)).toEqual(
      byRole(readers, { read: '404 NOT_FOUND', write: '', admin: '' }),
    )
    expect(await ask(callers, 'POST', `${base}/set`, body)).toEqual(
      byRole(callers, { read: forbidden, write: '200', admin: '200' }),
    )
    expect(await ask(callers, 'GET', `${base}/get?key=${key}`)).toEqual(
      byRole(callers, { read: '200', write: '200', admin: '200' }),
    )
  })
})

describeWith('postgres18', 'the role on a PostgreSQL', (store) => {
  test('read writes nothing by readOnly: false either; the engine refuses it', async () => {
    await using scratch = await createScratchDatabase(store)
    const { id, callers } = await callersOf('postgres', scratch.url)
    const url = `/api/platform/postgres/${id}/query`
    const create = 'create table written (by_role text)'
    await world.app.request('POST', url, { body: { query: create, readOnly: false } })
    const insert = { query: `insert into written values ('somebody')`, readOnly: false }
    expect(await ask(callers, 'POST', url, insert)).toEqual(
      byRole(callers, { read: readOnly, write: '200', admin: '200' }),
    )
    expect(await ask(callers, 'POST', url, { ...insert, readOnly: true })).toEqual(
      byRole(callers, { read: readOnly, write: readOnly, admin: readOnly }),
    )
    const { body } = await world.app.request('POST', url, { body: { query: 'select count(*) from written' } })
    expect(body.rows).toEqual([{ count: '6' }])
    // The registered database goes before its store does.
    await world.app.request('DELETE', `${databases}/${id}`)
  })
})

describeWith('mongo', 'the role on a MongoDB', (store) => {
  test('a pipeline that writes is refused, whoever asks', async () => {
    const { id, callers } = await callersOf('mongodb', store.url)
    for (const stage of [{ $out: newName() }, { $merge: { into: newName() } }]) {
      const body = { collection: 'any', pipeline: [stage] }
      const refused = '400 VALIDATION_FAILED'
      expect(await ask(callers, 'POST', `/api/platform/mongodb/${id}/aggregate`, body)).toEqual(
        byRole(callers, { read: refused, write: refused, admin: refused }),
      )
    }
  })
})

describe('the lesser counts', () => {
  test('write manages neither the database nor who may use it', async () => {
    const { id } = world.sites.granted.databases.redis
    const user = crypto.randomUUID()
    await world.grant(user, 'write', 'granted')
    const headers = bearer(await world.token(user))
    const { secret } = await world.key({ role: 'write', ref: world.sites.granted.ref })
    const callers = {
      user: { role: 'write', headers },
      key: { role: 'write', headers: bearer(secret) },
    } as const
    const url = `${databases}/${id}`
    const answers = [
      await ask(callers, 'PATCH', url, { description: 'mine' }),
      await ask(callers, 'DELETE', url),
      await ask(callers, 'PUT', `${url}/permissions/${user}`, { role: 'admin' }),
      await ask(callers, 'GET', `${url}/permissions`),
    ]
    expect(answers).toEqual(answers.map(() => ({ user: forbidden, key: forbidden })))
  })

  test('of the service key and the grant of whom it acts for the grant; a scoped key gains nothing by a token', async () => {
    const { id } = world.sites.granted.databases.redis
    const [reader, admin] = [crypto.randomUUID(), crypto.randomUUID()]
    await world.grant(reader, 'read', 'granted')
    await world.grant(admin, 'admin', 'project')
    const { secret } = await world.key({ role: 'read', ref: world.sites.granted.ref })
    const beside = async (credential: string, user: string) => ({
      ...bearer(credential),
      'x-forwarded-authorization': `Bearer ${await world.token(user)}`,
    })
    const callers = {
      service: { role: 'read', headers: await beside(world.app.key, reader) },
      key: { role: 'read', headers: await beside(secret, admin) },
    } as const
    expect(await ask(callers, 'PATCH', `${databases}/${id}`, { description: 'mine' })).toEqual({
      service: forbidden,
      key: forbidden,
    })
  })

  test('of a scoped key and the grant of whom it acts for', async () => {
    const { redis, ...others } = world.sites.granted.databases
    const granted = [redis, ...Object.values(others)].map(({ id }) => id).sort()
    const url = `${databases}/${redis.id}`
    const [reader, stranger] = [crypto.randomUUID(), crypto.randomUUID()]
    await world.grant(reader, 'read', 'granted')
    const { secret } = await world.key({ role: 'admin', ref: world.sites.granted.ref })
    const acting = async (user: string) => ({
      ...bearer(secret),
      'x-forwarded-authorization': `Bearer ${await world.token(user)}`,
    })
    const [forReader, forStranger] = [await acting(reader), await acting(stranger)]
    const get = async (where: string, headers: Record<string, string>) => {
      const { status, body } = await world.app.request('GET', where, { key: null, headers })
      return Array.isArray(body) ? [status, body.map((row: { id: string }) => row.id).sort()] : [status]
    }
    const patch = async (headers: Record<string, string>) =>
      (await world.app.request('PATCH', url, { key: null, headers, body: { description: 'mine' } })).status
    expect({
      reader: [await get(url, forReader), await get(databases, forReader), await patch(forReader)],
      stranger: [await get(url, forStranger), await get(databases, forStranger), await patch(forStranger)],
      alone: await patch(bearer(secret)),
    }).toEqual({
      reader: [[200], [200, granted], 403],
      stranger: [[404], [200, []], 404],
      alone: 200,
    })
    expect(await get(url, { ...bearer(secret), 'x-forwarded-authorization': 'Bearer a.b.c' })).toEqual([401])
  })

  test('404 everything for a user without grants, 403 what is the server’s', async () => {
    const headers = bearer(await world.token(crypto.randomUUID()))
    const callers = { nobody: { role: 'read', headers } } as const
    const { ref, databases: rows } = world.sites.granted
    const answers = [
      await ask(callers, 'GET', `${databases}/${rows.redis.id}`),
      await ask(callers, 'GET', `${databases}/by-name/${ref}/${rows.redis.name}`),
      await ask(callers, 'GET', `/api/platform/projects/${ref}`),
      await ask(callers, 'POST', '/api/platform/projects', {
        name: 'Mine',
        ref: newName('p'),
        organizationSlug: 'default',
      }),
      await ask(callers, 'GET', '/info'),
    ]
    expect(answers.map(({ nobody }) => nobody)).toEqual([
      '404 DB_NOT_FOUND',
      '404 DB_NOT_FOUND',
      '404 NOT_FOUND',
      forbidden,
      forbidden,
    ])
  })

  test('an id in capitals is the same database, also after a change', async () => {
    const { id } = world.sites.granted.databases.postgres
    const { secret } = await world.key({ role: 'admin', ref: world.sites.granted.ref })
    const get = async (at: string) =>
      (await world.app.request('GET', `${databases}/${at}`, { key: secret })).body.description
    const before = await get(id.toUpperCase())
    await world.app.request('PATCH', `${databases}/${id}`, { body: { description: 'changed' } })
    expect([before, await get(id.toUpperCase()), await get(id)]).toEqual([null, 'changed', 'changed'])
  })
})
