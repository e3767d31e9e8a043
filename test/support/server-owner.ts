import { chmod, chown, mkdir, mkdtemp, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** The user and group of a store's process and files. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** PostgreSQL refuses to run as root: root lends it the user `postgres`, made where missing. Null is the current user. */
export async function postgresOwner(): Promise<Owner | null> {
  if (process.getuid?.() !== 0) return null
  const existing = await lookUpPostgres()
  if (existing !== null) return existing
  await output('useradd', '--system', '--user-group', '--no-create-home', 'postgres')
  const created = await lookUpPostgres()
  if (created === null) throw new Error('PostgreSQL cannot run as root, and the user "postgres" could not be made')
  return created
}

/** Whether any user may run or enter this path: each folder above it, and itself, is open to others. */
export async function isReachableByOthers(path: string): Promise<boolean> {
  const { mode } = await stat(path)
  if ((mode & 0o001) === 0) return false
  const parent = dirname(path)
  return parent === path || isReachableByOthers(parent)
}

/** A new temporary folder that the stores' user can enter, whatever `TMPDIR` says. */
export async function makeWorkFolder(owner: Owner | null): Promise<string> {
  const base = await reachableTemporaryFolder(owner)
  const folder = await mkdtemp(join(base, 'bun-api-test-'))
  if (owner !== null) await chmod(folder, 0o711)
  return folder
}

/** The system's temporary folder, or `/tmp` where the stores' user could not enter it. */
export async function reachableTemporaryFolder(owner: Owner | null): Promise<string> {
  return owner === null || (await isReachableByOthers(tmpdir())) ? tmpdir() : '/tmp'
}

/** Makes a private folder of the stores' user. */
export async function makeOwnedFolder(path: string, owner: Owner | null): Promise<string> {
  await mkdir(path, { mode: 0o700 })
  if (owner !== null) await chown(path, owner.uid, owner.gid)
  return path
}

async function lookUpPostgres(): Promise<Owner | null> {
  const [uid, gid] = await Promise.all([output('id', '-u', 'postgres'), output('id', '-g', 'postgres')])
  return uid === null || gid === null ? null : { uid: Number(uid), gid: Number(gid) }
}

async function output(...command: string[]): Promise<string | null> {
  const child = Bun.spawn(command, { stdin: 'ignore', stdout: 'pipe', stderr: 'ignore' })
  const text = await child.stdout.text()
  return (await child.exited) === 0 ? text.trim() : null
}
