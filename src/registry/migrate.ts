import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Sql, TransactionSql } from 'postgres'

/** What one call brought the registry: the names of the files applied, in order; none when it was up to date. */
export interface Migrated {
  readonly applied: readonly string[]
}

interface Migration {
  readonly name: string
  readonly text: string
  readonly checksum: string
}

/** Beside the bundle, which `scripts/build.ts` puts them next to; else where they are in the repository. */
function ownFolder(): string {
  const bundled = join(import.meta.dir, 'migrations')
  return existsSync(bundled) ? bundled : join(import.meta.dir, '../../migrations')
}

/**
 * Applies what is missing of `migrations/*.sql`, one transaction each; instances that race apply each file once.
 * Throws, having changed nothing more, when an applied file has changed or the registry knows a file this build does not.
 */
export async function migrate(sql: Sql, options: { readonly folder?: string } = {}): Promise<Migrated> {
  const migrations = await readMigrations(options.folder ?? ownFolder())
  const applied: string[] = []
  for (;;) {
    const name = await sql.begin((transaction) => applyNext(transaction, migrations))
    if (name === undefined) return { applied }
    applied.push(name)
  }
}

async function readMigrations(folder: string): Promise<readonly Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{3}_\w+\.sql$/.test(name)).sort()
  if (names.length === 0) throw new Error(`There are no migrations in ${folder}`)
  return Promise.all(
    names.map(async (name) => {
      const text = (await readFile(join(folder, name), 'utf8')).replaceAll('\r\n', '\n')
      return { name, text, checksum: createHash('sha256').update(text).digest('hex') }
    }),
  )
}

async function applyNext(sql: TransactionSql, migrations: readonly Migration[]): Promise<string | undefined> {
  // Before anything else: two instances that make the schema at once would fail each other.
  await sql`select pg_advisory_xact_lock(hashtext('platform.bun_api_migrations'))`
  const journal = await openJournal(sql)
  refuseForeign(journal, migrations)
  const next = migrations.find((migration) => !journal.has(migration.name))
  if (next === undefined) return undefined
  try {
    await sql.unsafe(next.text)
  } catch (cause) {
    throw new Error(`Migration ${next.name} failed; nothing of it was kept`, { cause })
  }
  await sql`insert into platform.bun_api_migrations (name, checksum) values (${next.name}, ${next.checksum})`
  return next.name
}

/** The checksums of what is applied, by name. */
async function openJournal(sql: TransactionSql): Promise<ReadonlyMap<string, string>> {
  // A lock on a table that somebody's idle transaction holds must not queue all its readers behind us for ever.
  await sql.unsafe(`
    set local lock_timeout = '30s';
    set local statement_timeout = 0;
    set local client_min_messages = warning;
    do $$
    begin
      if to_regnamespace('platform') is null then
        create schema platform;
      end if;
      if to_regclass('platform.bun_api_migrations') is null then
        create table platform.bun_api_migrations (
          name text primary key,
          checksum text not null,
          applied_at timestamptz not null default now()
        );
      end if;
    end $$;
  `)
  const rows = await sql<{ name: string; checksum: string }[]>`
    select name, checksum from platform.bun_api_migrations order by name
  `
  return new Map(rows.map((row) => [row.name, row.checksum]))
}

function refuseForeign(journal: ReadonlyMap<string, string>, migrations: readonly Migration[]): void {
  for (const [name, checksum] of journal) {
    const known = migrations.find((migration) => migration.name === name)
    if (known === undefined) {
      throw new Error(`The registry is newer than this build: it has migration ${name}; start a newer build`)
    }
    if (known.checksum !== checksum) {
      throw new Error(`Migration ${name} was changed after it had been applied; restore the file and add a new one`)
    }
  }
}
