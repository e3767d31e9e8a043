import { describe, expect, test } from 'bun:test'
import { cp, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Grants, Role } from '#src/access/principal.ts'
import { createDeps } from '#src/deps.ts'
import type { ApiError } from '#src/errors.ts'
import { createLog } from '#src/log.ts'
import { migrate } from '#src/registry/migrate.ts'
import { describeRegistries, eventually, inRegistry, newName } from '#test/registry/registries.ts'
import { scratchFolder, withClient } from '#test/registry/scratch.ts'
import { createScratchDatabase, createTestApp, type TestApp } from '#test/support/app.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { canary, stores } from '#test/support/stores.ts'

const newUser = () => crypto.randomUUID()
const grantedBy = 'service'
const plain = ({ databases, projects }: Grants) => ({ databases: [...databases], projects: [...projects] })
const nothing = { databases: [], projects: [] }

async function addDatabase(app: TestApp, projectRef = 'default'): Promise<{ id: string; project_id: string }> {
  const connectionString = `redis://:${canary}@store.test`
  const body = { projectRef, name: newName(), type: 'redis', connectionString }
  return (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body
}

async function addProject(app: TestApp): Promise<string> {
  const ref = newName('project')
  await app.request('POST', '/api/platform/projects', { body: { name: 'Shop', ref, organizationSlug: 'default' } })
  return ref
}

describeRegistries('grants', (app) => {
  const grants = () => app().deps.grants
  const of = async (userId: string) => plain(await grants().of(userId))

  test('of a stranger are none, and are remembered so', async () => {
    const user = newUser()
    const first = [grants().peek(user), await of(user)]
    // Changes are heard some milliseconds after the start, and nothing is remembered before.
    await eventually(async () => Boolean((await of(user)) && grants().peek(user)))
    expect([...first, await of(user)]).toEqual([undefined, nothing, nothing])
  })

  test('are by database and by project, each with its role', async () => {
    const [user, one, two] = [newUser(), await addDatabase(app()), await addDatabase(app())]
    await grants().setOnDatabase(one.id, { userId: user, role: 'read', grantedBy })
    await grants().setOnDatabase(two.id, { userId: user, role: 'admin', grantedBy })
    await grants().setOnProject('default', { userId: user, role: 'write', grantedBy })
    await grants().setOnDatabase(one.id, { userId: newUser(), role: 'admin', grantedBy })
    const found = await grants().of(user)
    expect([new Map(found.databases), new Map(found.projects)]).toEqual([
      new Map<string, Role>([
        [one.id, 'read'],
        [two.id, 'admin'],
      ]),
      new Map<string, Role>([[one.project_id, 'write']]),
    ])
  })

  test('a user whose id is no UUID has those of projects', async () => {
    const user = `auth0|${newName()}`
    const row = await grants().setOnProject('default', { userId: user, role: 'read', grantedBy })
    expect(await of(user)).toEqual({ databases: [], projects: [[row?.project_id ?? '', 'read']] })
  })

  test('what is set here is known here at once, also when it replaces', async () => {
    const [user, { id }] = [newUser(), await addDatabase(app())]
    const seen: unknown[] = []
    for (const role of ['read', 'admin', 'write'] as const) {
      await grants().setOnDatabase(id, { userId: user, role, grantedBy })
      seen.push((await of(user)).databases)
    }
    await grants().removeFromDatabase(id, user)
    expect([...seen, await of(user)]).toEqual([[[id, 'read']], [[id, 'admin']], [[id, 'write']], nothing])
  })

  test('50 at once leave one row, with the role of one of them', async () => {
    const [user, { id }] = [newUser(), await addDatabase(app())]
    const roles = Array.from({ length: 50 }, (_, n): Role => (n % 2 === 0 ? 'read' : 'write'))
    const rows = await Promise.all(roles.map((role) => grants().setOnDatabase(id, { userId: user, role, grantedBy })))
    const left = await grants().listOfDatabase(id, { limit: 10 })
    expect([new Set(rows.map((row) => row?.id)).size, left.length, roles.includes(left[0]?.role ?? 'admin')]).toEqual([
      1,
      1,
      true,
    ])
  })

  test('go with their database, their project and their row, removed by whomever, within a second', async () => {
    const user = newUser()
    const ref = await addProject(app())
    const [kept, gone, cascaded] = [await addDatabase(app()), await addDatabase(app()), await addDatabase(app(), ref)]
    for (const { id } of [kept, gone, cascaded])
      await grants().setOnDatabase(id, { userId: user, role: 'read', grantedBy })
    await grants().setOnProject(ref, { userId: user, role: 'read', grantedBy })
    const count = async () => {
      const { databases, projects } = await of(user)
      return `${databases.length} ${projects.length}`
    }
    expect(await count()).toBe('3 1')
    await inRegistry(app(), (sql) => sql`delete from platform.databases where id = ${gone.id}`)
    await eventually(async () => (await count()) === '2 1', 1_000)
    await inRegistry(app(), (sql) => sql`delete from platform.projects where ref = ${ref}`)
    await eventually(async () => (await count()) === '1 0', 1_000)
    await inRegistry(app(), (sql) => sql`delete from platform.database_permissions where user_id = ${user}`)
    await eventually(async () => (await count()) === '0 0', 1_000)
  })

  test('a row given to another user by SQL is told to both', async () => {
    const [from, to, { id }] = [newUser(), newUser(), await addDatabase(app())]
    await grants().setOnDatabase(id, { userId: from, role: 'write', grantedBy })
    expect([await of(from), await of(to)]).toEqual([{ databases: [[id, 'write']], projects: [] }, nothing])
    await inRegistry(
      app(),
      (sql) => sql`update platform.database_permissions set user_id = ${to} where user_id = ${from}`,
    )
    await eventually(
      async () => (await of(from)).databases.length === 0 && (await of(to)).databases.length === 1,
      1_000,
    )
  })

  test('a grant of a database or project that is not there is none', async () => {
    const grant = { userId: newUser(), role: 'read', grantedBy } as const
    expect([
      await grants().setOnDatabase(crypto.randomUUID(), grant),
      await grants().setOnProject('no', grant),
    ]).toEqual([undefined, undefined])
  })
})

describe('grants made before there were those of projects', () => {
  test('stay, as old as they were', async () => {
    await using scratch = await createScratchDatabase(stores().postgres18)
    await using folder = await scratchFolder()
    const all = join(import.meta.dir, '../../migrations')
    for (const name of await readdir(all)) if (name < '006') await cp(join(all, name), join(folder.path, name))
    const rows = await withClient(scratch.url, async (sql) => {
      await migrate(sql, { folder: folder.path })
      await sql`
        insert into platform.databases (project_id, name, type, connection_string)
        select id, 'cache', 'redis', 'x' from platform.projects`
      await sql`
        insert into platform.database_permissions (database_id, user_id, role, created_at)
        select id, gen_random_uuid(), 'write', '2026-01-01' from platform.databases`
      await migrate(sql)
      return sql`select role, granted_by, updated_at = created_at as untouched from platform.database_permissions`
    })
    expect([...rows]).toEqual([{ role: 'write', granted_by: null, untouched: true }])
  })
})

describe('grants of two instances', () => {
  test('taken away on one, they are gone on the other within a second', async () => {
    await using app = await createTestApp({ registry: 'postgres18' })
    await using other = await createDeps(app.deps.config, { log: createLog('silent') })
    const [user, { id }] = [newUser(), await addDatabase(app)]
    await app.deps.grants.setOnDatabase(id, { userId: user, role: 'admin', grantedBy })
    await app.deps.grants.setOnProject('default', { userId: user, role: 'read', grantedBy })
    const there = async () => {
      const { databases, projects } = await other.grants.of(user)
      return [databases.size, projects.size].join(' ')
    }
    expect(await there()).toBe('1 1')
    const times: number[] = []
    for (const [take, left] of [
      [() => app.deps.grants.removeFromDatabase(id, user), '0 1'],
      [() => app.deps.grants.removeFromProject('default', user), '0 0'],
    ] as const) {
      await take()
      const began = performance.now()
      await eventually(async () => (await there()) === left, 1_000)
      times.push(Math.round(performance.now() - began))
    }
    console.log(`grants taken away were noticed after ${times.join(' and ')} ms`)
  })
})

describe('while the registry is down', () => {
  test('grants nobody has read are 503, and those that were taken away meanwhile are gone when it is back', async () => {
    const { postgres18 } = stores()
    await using scratch = await createScratchDatabase(postgres18)
    await using proxy = await startFaultProxy(postgres18.host, postgres18.port)
    const url = new URL(scratch.url)
    url.port = String(proxy.port)
    await using app = await createTestApp({
      registry: 'postgres18',
      env: { DATABASE_URL: url.href, REGISTRY_TIMEOUT_MS: '1000' },
    })
    const [known, stranger, { id }] = [newUser(), newUser(), await addDatabase(app)]
    await app.deps.grants.setOnDatabase(id, { userId: known, role: 'write', grantedBy })
    expect((await app.deps.grants.of(known)).databases.get(id)).toBe('write')
    proxy.mode = 'refuse-after-accept'
    proxy.resetAll()
    const code = await app.deps.grants.of(stranger).catch((error: unknown) => (error as ApiError).code)
    expect(String(code)).toBe('REGISTRY_UNAVAILABLE')
    await withClient(scratch.url, (sql) => sql`delete from platform.database_permissions`)
    proxy.mode = 'pass'
    await eventually(async () => {
      const found = await app.deps.grants.of(known).catch(() => undefined)
      return found !== undefined && found.databases.size === 0
    })
  })
})
