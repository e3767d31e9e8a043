import { randomBytes, randomUUID } from 'node:crypto'
import { chmod, link, mkdir, mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import { codeOf } from '#src/errors.ts'
import { LockHeldError, takeLock } from './lock-file.ts'
import { throwOnAbort } from './pglite-abort.ts'

/** The registry of a server without `DATABASE_URL`: PGlite behind a Unix socket, for one client with `max: 1`. */
export interface EmbeddedRegistry {
  readonly socketPath: string
  /** Resolves with the cause when the engine broke (a full disk): clients are cut off; a new process opens it once the folder is in order. */
  readonly failed: Promise<unknown>
  /** Stops serving, closes the files and frees the folder; a second call waits for the first. */
  close(): Promise<void>
}

/** `sun_path` holds 104 bytes on macOS and 108 on Linux, the closing NUL among them. */
const longestSocketPath = 103

/** Opens, or makes, the registry in `dataDir`; throws one plain sentence when another process has it or the folder is unusable. */
export async function openEmbedded(dataDir: string): Promise<EmbeddedRegistry> {
  const folder = resolve(dataDir)
  const cleanups: (() => unknown)[] = []
  const cleanUp = async () => {
    for (let step = cleanups.pop(); step !== undefined; step = cleanups.pop()) await step()
  }
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const lock = await takeLock(join(folder, 'lock'))
    cleanups.push(() => lock.release())

    const { PGlite } = await import('@electric-sql/pglite')
    const { PGLiteSocketServer } = await import('@electric-sql/pglite-socket')
    const db = await PGlite.create(join(folder, 'registry'))
    cleanups.push(() => db.close())

    const socketPath = await freeSocketPath(folder)
    if (dirname(socketPath) !== folder) cleanups.push(() => rm(dirname(socketPath), { recursive: true, force: true }))
    // Two: a client that reconnects may come before its lost connection has gone.
    const server = new PGLiteSocketServer({ db, path: socketPath, maxConnections: 2 })
    await server.start()
    cleanups.push(() => server.stop())
    await chmod(socketPath, 0o600)

    const { promise: failed, resolve: fail } = Promise.withResolvers<unknown>()
    throwOnAbort(db, (error) => {
      fail(error)
      void server.stop()
    })
    let closing: Promise<void> | undefined
    return { socketPath, failed, close: () => (closing ??= cleanUp()) }
  } catch (cause) {
    await cleanUp()
    throw new Error(sentenceFor(folder, cause), { cause })
  }
}

function sentenceFor(folder: string, cause: unknown): string {
  if (cause instanceof LockHeldError) {
    const { holder } = cause
    const owner = holder === undefined ? 'another process' : `process ${holder.pid}`
    return `The data folder ${folder} is in use by ${owner}: stop that process or choose another DATA_DIR`
  }
  const code = codeOf(cause)
  return `The data folder ${folder} can't be used${code === undefined ? '' : ` (${code})`}: check its rights and the free space, or choose another DATA_DIR`
}

async function freeSocketPath(folder: string): Promise<string> {
  const path = join(folder, 'registry.sock')
  if (Buffer.byteLength(path) > longestSocketPath)
    return join(await mkdtemp(join(tmpdir(), 'bun-api-')), 'registry.sock')
  await rm(path, { force: true })
  return path
}

/** The keys of a server that was given none: `cryptoKey` is 32 bytes in base64url, `apiKey` the same behind `bun_`. */
export interface EmbeddedKeys {
  readonly cryptoKey: string
  readonly apiKey: string
}

const keysFile = z.object({
  cryptoKey: z.string().regex(/^[\w-]{43}$/),
  apiKey: z.string().regex(/^bun_[\w-]{43}$/),
})

/** Reads the keys kept in `dataDir/keys.json`, made on first use; a damaged file is an error, never replaced: rows are sealed under it. */
export async function embeddedKeys(dataDir: string): Promise<EmbeddedKeys> {
  const folder = resolve(dataDir)
  const path = join(folder, 'keys.json')
  const text = await keysText(folder, path).catch((cause: unknown) => {
    throw new Error(sentenceFor(folder, cause), { cause })
  })
  try {
    return keysFile.parse(JSON.parse(text))
  } catch {
    // Without the cause: it could quote the keys.
    throw new Error(
      `${path} is damaged: restore it from a backup; without its keys the stored credentials can't be read`,
    )
  }
}

async function keysText(folder: string, path: string): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  try {
    await chmod(path, 0o600)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    await makeKeys(folder, path)
  }
  return readFile(path, 'utf8')
}

/** Two processes may start at once: the keys that come second are dropped, so a link and not a rename, which replaces. */
async function makeKeys(folder: string, path: string): Promise<void> {
  const keys: EmbeddedKeys = {
    cryptoKey: randomBytes(32).toString('base64url'),
    apiKey: `bun_${randomBytes(32).toString('base64url')}`,
  }
  const temporary = `${path}.${randomUUID()}`
  try {
    await using file = await open(temporary, 'wx', 0o600)
    await file.writeFile(`${JSON.stringify(keys, null, 2)}\n`)
    await file.sync()
    await link(temporary, path)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  } finally {
    await rm(temporary, { force: true })
  }
  await using entries = await open(folder, 'r')
  await entries.sync()
}
