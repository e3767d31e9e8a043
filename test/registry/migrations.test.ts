import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { cp, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { migrate } from '#src/registry/migrate.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { stores } from '#test/support/stores.ts'
import { catalogOf } from './catalog.ts'
import { scratchDatabase, scratchFolder, scratchPglite, withClient } from './scratch.ts'
import type { Scratch } from './scratch.ts'
import { ambiguousFunction, seedStatements, studioTables } from './seed-sql.ts'

setDefaultTimeout(60_000)

const migrations = join(import.meta.dir, '../../migrations')
const names = (await readdir(migrations)).filter((name) => name.endsWith('.sql')).sort()
const firstOnly = names.slice(0, 1)

describe('migrations on PGlite', () => {
  let pglite: Awaited<ReturnType<typeof scratchPglite>>
  beforeAll(async () => void (pglite = await scratchPglite()), 60_000)
  afterAll(() => pglite[Symbol.asyncDispose]())
  schemaSuite(() => pglite.fresh())
})

for (const name of ['postgres15', 'postgres18'] as const) {
  describeWith(name, `migrations on ${name}`, (store) => {
    schemaSuite(() => scratchDatabase(store))
    raceSuite(() => scratchDatabase(store))
  })
}

function schemaSuite(open: () => Promise<Scratch>): void {
  test('apply each file once, in order', async () => {
    await using database = await open()
    const first = await migrate(database.sql)
    const before = await catalogOf(database.sql)
    const second = await migrate(database.sql)
    expect([first, second, await catalogOf(database.sql)]).toEqual([{ applied: names }, { applied: [] }, before])
  })

  test('can be run again by hand without harm', async () => {
    await using database = await open()
    await migrate(database.sql)
    const before = await catalogOf(database.sql)
    for (const name of names) await database.sql.unsafe(await Bun.file(join(migrations, name)).text())
    expect(await catalogOf(database.sql)).toEqual(before)
  })

  test('make a project default in an organization default', async () => {
    await using database = await open()
    await migrate(database.sql)
    const rows = await database.sql`
      select p.name, p.ref, o.name as organization, o.slug
      from platform.projects p join platform.organizations o on o.id = p.organization_id
    `
    expect([...rows]).toEqual([{ name: 'Default', ref: 'default', organization: 'Default', slug: 'default' }])
  })

  test("leave Studio's tables and rows as they are", async () => {
    await using database = await open()
    const tables = ['organizations', 'projects', 'credentials']
    await database.sql.unsafe(studioTables)
    const before = await catalogOf(database.sql, tables)
    const rowsBefore = await studioRows(database)
    await migrate(database.sql)
    const after = await catalogOf(database.sql, tables)
    const triggers = after.filter((line) => !before.includes(line))
    expect(after.filter((line) => !triggers.includes(line))).toEqual([...before])
    expect(triggers.map((line) => line.split(' FOR EACH ROW')[0])).toEqual([
      'trigger CREATE TRIGGER notify_organizations_names AFTER UPDATE ON platform.organizations',
      'trigger CREATE TRIGGER notify_projects_names AFTER UPDATE ON platform.projects',
    ])
    expect(await studioRows(database)).toEqual(rowsBefore)
    await database.sql.unsafe('drop function public.uuid_generate_v4() cascade')
  })

  test('make the schema of a fresh registry after every prefix of the published 002', async () => {
    const fresh = await freshCatalog(open)
    for (let length = 0; length <= seedStatements.length; length++) {
      await using database = await open()
      await applyFirst(database)
      for (const statement of seedStatements.slice(0, length)) await database.sql.unsafe(statement)
      const { applied } = await migrate(database.sql)
      expect([length, applied, await catalogOf(database.sql)]).toEqual([length, names.slice(1), fresh])
    }
  })

  test('the published get_database_by_name is refused, as ambiguous', async () => {
    await using database = await open()
    await applyFirst(database)
    for (const statement of seedStatements.slice(0, 2)) await database.sql.unsafe(statement)
    const code = await database.sql.unsafe(ambiguousFunction).catch((error: { code?: unknown }) => error.code)
    expect(code).toBe('42702')
  })

  test('repair rows of the published 002 and keep those that cannot be', async () => {
    await using database = await open()
    const { sql } = database
    await applyFirst(database)
    for (const statement of seedStatements) await sql.unsafe(statement)
    await sql.unsafe(`
      alter table platform.database_audit_log
        rename constraint database_audit_log_database_id_fkey to named_otherwise;
      insert into platform.databases (id, name, type, connection_string, config, status) values
        ('00000000-0000-4000-8000-000000000001', 'orphan', 'redis', 'x', null, 'unheard-of'),
        ('00000000-0000-4000-8000-000000000002', 'other', 'redis', 'x', '{"a":1}', null);
      insert into platform.database_audit_log (database_id, operation)
        values ('00000000-0000-4000-8000-000000000001', 'read');
      insert into platform.database_permissions (database_id, user_id, role, created_at)
        select '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a', role, at::timestamptz
        from (values ('read', '2026-01-01'), ('admin', '2026-03-01'), ('write', '2026-02-01')) as given(role, at);
    `)
    await migrate(sql)
    const databases = await sql`select name, project_id, config, status, version from platform.databases order by name`
    const permissions = await sql`select role from platform.database_permissions`
    await sql`delete from platform.databases`
    const left = await sql`
      select (select count(*)::int from platform.database_permissions) as permissions,
        (select count(*)::int from platform.database_audit_log) as audit
    `
    expect([[...databases], [...permissions], [...left]]).toEqual([
      [
        { name: 'orphan', project_id: null, config: {}, status: 'unheard-of', version: '1' },
        { name: 'other', project_id: null, config: { a: 1 }, status: null, version: '1' },
      ],
      [{ role: 'admin' }],
      [{ permissions: 0, audit: 1 }],
    ])
  })

  test('a changed configuration raises the version, moves updated_at and notifies; a health write does none', async () => {
    await using database = await open()
    const { sql, notified } = database
    await migrate(sql)
    await sql`listen bun_api_changes`
    const id = await insertDatabase(database, 'cache')
    const state = async () => {
      const [row] = await sql`select version::int, updated_at = created_at as untouched from platform.databases`
      return [row?.['version'], row?.['untouched'], notified.splice(0).map((payload) => JSON.parse(payload))]
    }
    const change = (op: string, version: number) => ({ table: 'databases', id, version, op })

    expect(await state()).toEqual([1, true, [change('INSERT', 1)]])
    await sql`update platform.databases set last_connected_at = now()`
    await sql`update platform.databases set name = name, config = config`
    expect(await state()).toEqual([1, true, []])
    await sql`update platform.databases set status = 'error', last_connected_at = now()`
    expect(await state()).toEqual([1, true, [change('UPDATE', 0)]])
    await sql`update platform.databases set config = '{"maxConnections":2}'`
    expect(await state()).toEqual([2, false, [change('UPDATE', 2)]])
    await sql`update platform.databases set description = 'Sessions', status = 'active'`
    expect(await state()).toEqual([3, false, [change('UPDATE', 0), change('UPDATE', 3)]])
    await sql`delete from platform.databases`
    expect(await state()).toEqual([undefined, undefined, [change('DELETE', 3)]])
  })

  test('the view and both functions answer with the rows of one project', async () => {
    await using database = await open()
    const { sql } = database
    await migrate(sql)
    await insertDatabase(database, 'cache')
    await insertDatabase(database, 'queue')
    await sql`update platform.databases set database_name = 'cache', created_at = now() - interval '1 day' where name = 'queue'`
    const named = (rows: Iterable<{ name?: string }>) => Array.from(rows, (row) => row.name)
    expect({
      project: named(await sql`select name from platform.get_databases_by_project('default')`),
      otherProject: named(await sql`select name from platform.get_databases_by_project('other')`),
      name: named(
        await sql`select name from platform.get_database_by_name(project_ref => 'default', database_name => 'cache')`,
      ),
      none: named(await sql`select name from platform.get_database_by_name('default', 'nothing')`),
      view: [
        ...(await sql`select name, project_ref, organization_slug, version from platform.databases_with_projects`),
      ],
    }).toEqual({
      project: ['cache', 'queue'],
      otherProject: [],
      name: ['cache'],
      none: [],
      view: [
        { name: 'cache', project_ref: 'default', organization_slug: 'default', version: '1' },
        { name: 'queue', project_ref: 'default', organization_slug: 'default', version: '2' },
      ],
    })
  })

  test('the statistics can be refreshed while they are read', async () => {
    await using database = await open()
    const { sql } = database
    await migrate(sql)
    await insertDatabase(database, 'cache')
    await sql`refresh materialized view concurrently platform.database_stats`
    expect([...(await sql`select * from platform.database_stats`)]).toEqual([
      { type: 'redis', total: '1', active: '1', recently_connected: '0' },
    ])
  })

  test('permissions are one per user and go with their database, its audit log stays', async () => {
    await using database = await open()
    const { sql } = database
    await migrate(sql)
    const id = await insertDatabase(database, 'cache')
    const grant = () => sql`
      insert into platform.database_permissions (database_id, user_id, role)
      values (${id}, '00000000-0000-4000-8000-00000000000a', 'read')
    `
    await grant()
    const again = await grant().catch((error: { code?: unknown }) => error.code)
    await sql`insert into platform.database_audit_log (database_id, operation) values (${id}, 'delete')`
    await sql`delete from platform.databases`
    const audit = await sql`select database_id from platform.database_audit_log`
    const permissions = await sql`select id from platform.database_permissions`
    expect([again, [...permissions], [...audit]]).toEqual(['23505', [], [{ database_id: id }]])
  })

  test('a status outside the three is refused', async () => {
    await using database = await open()
    await migrate(database.sql)
    await insertDatabase(database, 'cache')
    const code = await database.sql`update platform.databases set status = 'gone'`.catch(
      (error: { code?: unknown }) => error.code,
    )
    expect(code).toBe('23514')
  })

  test('an applied file that has changed is named and refused', async () => {
    await using database = await open()
    await using folder = await migrationsCopy()
    await migrate(database.sql)
    await writeFile(join(folder.path, '002_add_multi_database_support.sql'), 'select 1')
    expect(await messageOf(migrate(database.sql, { folder: folder.path }))).toBe(
      'Migration 002_add_multi_database_support.sql was changed after it had been applied; restore the file and add a new one',
    )
  })

  test('Windows line ends are no change', async () => {
    await using database = await open()
    await using folder = await migrationsCopy()
    await migrate(database.sql)
    for (const name of names) {
      const text = await Bun.file(join(migrations, name)).text()
      await writeFile(join(folder.path, name), text.replaceAll('\n', '\r\n'))
    }
    expect(await migrate(database.sql, { folder: folder.path })).toEqual({ applied: [] })
  })

  test('a registry of a newer build is refused', async () => {
    await using database = await open()
    await using folder = await migrationsCopy({ '900_later.sql': 'select 1' })
    await migrate(database.sql, { folder: folder.path })
    expect(await messageOf(migrate(database.sql))).toBe(
      'The registry is newer than this build: it has migration 900_later.sql; start a newer build',
    )
  })

  test('a file that fails keeps nothing and is tried again', async () => {
    await using database = await open()
    await using folder = await migrationsCopy({ '900_later.sql': 'create table platform.half (); select 1 / 0' })
    const message = await messageOf(migrate(database.sql, { folder: folder.path }))
    await writeFile(join(folder.path, '900_later.sql'), 'create table platform.half ()')
    expect([message, await migrate(database.sql, { folder: folder.path })]).toEqual([
      'Migration 900_later.sql failed; nothing of it was kept',
      { applied: ['900_later.sql'] },
    ])
  })
}

/** What needs a second connection, so not on PGlite. */
function raceSuite(open: () => Promise<Scratch>): void {
  test('instances that race apply each file once', async () => {
    for (let round = 0; round < 5; round++) {
      await using database = await open()
      const race = Array.from({ length: 4 }, () => withClient(urlOf(database), (sql) => migrate(sql)))
      const applied = (await Promise.all(race)).flatMap((result) => result.applied)
      expect(applied.toSorted()).toEqual(names)
    }
  })

  test('kill -9 in the middle of a file leaves it unapplied, and the next run applies it', async () => {
    await using database = await open()
    await using folder = await migrationsCopy({
      '900_later.sql': `
        create table platform.half ();
        do $$ begin raise warning 'halfway'; end $$;
        lock table platform.gate;
      `,
    })
    await migrate(database.sql)
    await database.sql`create table platform.gate ()`
    await database.sql.begin(async (holder) => {
      await holder`lock table platform.gate`
      const script = join(import.meta.dir, 'migrate-child.ts')
      const child = Bun.spawn([process.execPath, script, urlOf(database), folder.path], { stdout: 'pipe' })
      await firstLine(child.stdout)
      child.kill('SIGKILL')
      await child.exited
    })
    expect(await migrate(database.sql, { folder: folder.path })).toEqual({ applied: ['900_later.sql'] })
  })

  test('a role that may not make schemas can migrate where the schema is its own', async () => {
    await using database = await open()
    const role = `r_${crypto.randomUUID().slice(0, 8)}`
    await database.sql.unsafe(`create role ${role}; create schema platform authorization ${role}; set role ${role}`)
    const { applied } = await migrate(database.sql)
    await database.sql.unsafe(`reset role; drop owned by ${role} cascade; drop role ${role}`)
    expect(applied).toEqual(names)
  })
}

async function freshCatalog(open: () => Promise<Scratch>): Promise<readonly string[]> {
  await using database = await open()
  await migrate(database.sql)
  return await catalogOf(database.sql)
}

/** What Studio's own 001 leaves, for the published 002 to build on. */
async function applyFirst({ sql }: Scratch): Promise<void> {
  await using folder = await scratchFolder()
  for (const name of firstOnly) await cp(join(migrations, name), join(folder.path, name))
  await migrate(sql, { folder: folder.path })
}

async function migrationsCopy(more: Readonly<Record<string, string>> = {}) {
  const folder = await scratchFolder()
  await cp(migrations, folder.path, { recursive: true })
  for (const [name, text] of Object.entries(more)) await writeFile(join(folder.path, name), text)
  return folder
}

async function studioRows({ sql }: Scratch): Promise<unknown> {
  return [
    [...(await sql`select * from platform.organizations where slug <> 'default'`)],
    [...(await sql`select * from platform.projects where ref <> 'default'`)],
    [...(await sql`select * from platform.credentials`)],
  ]
}

async function insertDatabase({ sql }: Scratch, name: string): Promise<string> {
  const [row] = await sql<{ id: string }[]>`
    insert into platform.databases (project_id, name, type, connection_string)
    select id, ${name}, 'redis', 'sealed' from platform.projects where ref = 'default'
    returning id
  `
  return row?.id ?? ''
}

function messageOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'no error',
    (error: Error) => error.message,
  )
}

function urlOf(database: Scratch): string {
  return database.url ?? stores().postgres18.url
}

async function firstLine(output: ReadableStream<Uint8Array>): Promise<void> {
  for await (const _ of output) return
}
