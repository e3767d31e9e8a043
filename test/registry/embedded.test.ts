import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { chmod, readdir, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { embeddedKeys, openEmbedded } from '#src/registry/embedded.ts'
import { LockHeldError, takeLock } from '#src/registry/lock-file.ts'
import { migrate } from '#src/registry/migrate.ts'
import { embeddedClient, scratchFolder } from './scratch.ts'

// A new PGlite takes two seconds of a free processor.
setDefaultTimeout(60_000)

const inUse = (folder: string, pid: number) =>
  `The data folder ${folder} is in use by process ${pid}: stop that process or choose another DATA_DIR`

describe('openEmbedded', () => {
  test('keeps its rows, for its owner alone, and closes twice', async () => {
    await using folder = await scratchFolder()
    const dataDir = join(folder.path, 'data')
    const first = await openEmbedded(dataDir)
    const modes = [await modeOf(dataDir), await modeOf(first.socketPath)]
    await withEmbedded(first.socketPath, async (sql) => {
      await migrate(sql)
      await sql`insert into platform.key_canaries (kid, sealed) values ('a', 'b')`
    })
    await Promise.all([first.close(), first.close()])
    const left = (await readdir(dataDir)).toSorted()

    const second = await openEmbedded(dataDir)
    const rows = await withEmbedded(second.socketPath, async (sql) => [
      ...(await sql`select kid from platform.key_canaries`),
    ])
    await second.close()
    expect({ modes, left, rows }).toEqual({ modes: [0o700, 0o600], left: ['registry'], rows: [{ kid: 'a' }] })
  })

  test('refuses a second open in the same process, also a simultaneous one', async () => {
    await using folder = await scratchFolder()
    const opened = await Promise.allSettled(Array.from({ length: 3 }, () => openEmbedded(folder.path)))
    const refusals = opened.flatMap((result) =>
      result.status === 'rejected' ? [(result.reason as Error).message] : [],
    )
    for (const result of opened) if (result.status === 'fulfilled') await result.value.close()
    expect(refusals).toEqual([inUse(folder.path, process.pid), inUse(folder.path, process.pid)])
  })

  test('refuses a second process, naming the first', async () => {
    await using folder = await scratchFolder()
    const embedded = await openEmbedded(folder.path)
    await using child = spawnChild(folder.path)
    const output = await new Response(child.stdout).text()
    await embedded.close()
    expect([output.trim(), await child.exited]).toEqual([inUse(folder.path, process.pid), 1])
  })

  test('opens after kill -9 of its owner, with every acknowledged row', async () => {
    await using folder = await scratchFolder()
    await using child = spawnChild(folder.path)
    let acknowledged = -1
    for await (const line of linesOf(child.stdout)) {
      acknowledged = Number(line)
      if (acknowledged === 50) child.kill('SIGKILL')
    }
    await child.exited
    const embedded = await openEmbedded(folder.path)
    const [row] = await withEmbedded(
      embedded.socketPath,
      (sql) => sql`select count(*)::int as rows, max(kid::int) as last from platform.key_canaries`,
    )
    await embedded.close()
    expect(row?.['last']).toBeGreaterThanOrEqual(acknowledged)
    expect(row?.['rows']).toBe(Number(row?.['last']) + 1)
  })

  test('puts its socket elsewhere when the folder has too long a name', async () => {
    await using folder = await scratchFolder()
    const embedded = await openEmbedded(join(folder.path, 'x'.repeat(120)))
    const rows = await withEmbedded(embedded.socketPath, async (sql) => [...(await sql`select 1 as one`)])
    await embedded.close()
    const gone = await stat(join(embedded.socketPath, '..')).then(
      () => false,
      () => true,
    )
    expect([Buffer.byteLength(embedded.socketPath) <= 103, rows, gone]).toEqual([true, [{ one: 1 }], true])
  })

  test('says in one sentence that a folder is unusable', async () => {
    await using folder = await scratchFolder()
    await writeFile(join(folder.path, 'file'), '')
    const dataDir = join(folder.path, 'file', 'data')
    expect(await messageOf(openEmbedded(dataDir))).toBe(
      `The data folder ${dataDir} can't be used (ENOTDIR): check its rights and the free space, or choose another DATA_DIR`,
    )
  })

  test.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)(
    'a full disk ends the service and not the process, and costs no acknowledged row',
    async () => {
      await using disk = await smallDisk()
      const embedded = await openEmbedded(disk.path)
      let acknowledged = 0
      const codes: unknown[] = []
      await withEmbedded(embedded.socketPath, async (sql) => {
        await sql`create table fat (row int primary key, value text)`
        const insert = () => sql`
          insert into fat select ${acknowledged}, string_agg(md5(random()::text), '') from generate_series(1, 10000)
        `
        while (codes.length === 0) {
          await insert().then(
            () => acknowledged++,
            (error: { code?: unknown }) => codes.push(error.code),
          )
        }
        await sql`select 1`.catch((error: { code?: unknown }) => codes.push(error.code))
      })
      await embedded.failed
      await embedded.close()
      const whenFull = await messageOf(openEmbedded(disk.path))
      await disk.grow()
      const reopened = await openEmbedded(disk.path)
      const [row] = await withEmbedded(reopened.socketPath, (sql) => sql`select count(*)::int as rows from fat`)
      await reopened.close()
      expect({ codes, whenFull, rows: row?.['rows'] }).toEqual({
        codes: ['CONNECTION_CLOSED', 'ENOENT'],
        whenFull: `The data folder ${disk.path} can't be used: check its rights and the free space, or choose another DATA_DIR`,
        rows: acknowledged,
      })
    },
  )
})

describe('takeLock', () => {
  const past = new Date(Date.now() - 60_000)

  test('of holders that race for what a dead process left, one wins', async () => {
    await using folder = await scratchFolder()
    const path = join(folder.path, 'lock')
    const gone = Bun.spawn([process.execPath, '--version'], { stdout: 'ignore' })
    await gone.exited
    for (let round = 0; round < 10; round++) {
      const lock = await takeLock(path)
      const holder = JSON.parse(await Bun.file(path).text())
      lock.release()
      await writeFile(path, JSON.stringify({ ...holder, pid: gone.pid }))
      const race = await Promise.allSettled(Array.from({ length: 8 }, () => takeLock(path)))
      const winners = race.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
      const losers = race.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
      winners.forEach((winner) => winner.release())
      expect([winners.length, losers.every((error) => error instanceof LockHeldError)]).toEqual([1, true])
      expect(await readdir(folder.path)).toEqual([])
    }
  })

  test.skipIf(process.platform !== 'linux')('a later process with the same pid is not the holder', async () => {
    await using folder = await scratchFolder()
    const path = join(folder.path, 'lock')
    const lock = await takeLock(path)
    const holder = JSON.parse(await Bun.file(path).text())
    lock.release()
    await writeFile(path, JSON.stringify({ ...holder, started: 'another-boot 1' }))
    await utimes(path, past, past)
    const taken = await takeLock(path)
    taken.release()
    expect(await readdir(folder.path)).toEqual([])
  })

  test("another host's holder is judged by its heartbeat", async () => {
    await using folder = await scratchFolder()
    const path = join(folder.path, 'lock')
    await writeFile(path, JSON.stringify({ pid: process.pid, started: null, host: `not-${hostname()}` }))
    const beats = setInterval(() => void utimes(path, new Date(), new Date()), 20)
    const refused = await messageOf(takeLock(path, 400))
    clearInterval(beats)
    const taken = await takeLock(path, 400)
    taken.release()
    expect(refused).toBe(`${path} is held by process ${process.pid}`)
  })

  test('an unreadable lock is judged by its heartbeat', async () => {
    await using folder = await scratchFolder()
    const path = join(folder.path, 'lock')
    await writeFile(path, '')
    const taken = await takeLock(path, 200)
    expect(JSON.parse(await Bun.file(path).text())).toMatchObject({ pid: process.pid })
    taken.release()
  })

  test('what a killed contender left is cleared', async () => {
    await using folder = await scratchFolder()
    const path = join(folder.path, 'lock')
    await writeFile(`${path}.left`, '')
    await utimes(`${path}.left`, past, past)
    const lock = await takeLock(path)
    lock.release()
    expect(await readdir(folder.path)).toEqual([])
  })
})

describe('embeddedKeys', () => {
  test('are made once, however many ask at the same time, and are only their owner’s', async () => {
    await using folder = await scratchFolder()
    const asked = await Promise.all(Array.from({ length: 8 }, () => embeddedKeys(folder.path)))
    const [keys] = asked
    const path = join(folder.path, 'keys.json')
    expect([...new Set(asked.map((one) => JSON.stringify(one)))]).toEqual([
      JSON.stringify(await embeddedKeys(folder.path)),
    ])
    expect([await modeOf(path), await readdir(folder.path)]).toEqual([0o600, ['keys.json']])
    expect([
      Buffer.from(keys?.cryptoKey ?? '', 'base64url').length,
      keys?.apiKey.slice(0, 4),
      keys?.apiKey.length,
    ]).toEqual([32, 'bun_', 47])
  })

  test('get their mode back when others could read them', async () => {
    await using folder = await scratchFolder()
    const keys = await embeddedKeys(folder.path)
    const path = join(folder.path, 'keys.json')
    await chmod(path, 0o644)
    expect([await embeddedKeys(folder.path), await modeOf(path)]).toEqual([keys, 0o600])
  })

  test('a damaged file is named and left alone', async () => {
    await using folder = await scratchFolder()
    const path = join(folder.path, 'keys.json')
    for (const damaged of ['', '{"cryptoKey":', '{"cryptoKey":"short","apiKey":"bun_"}', 'null']) {
      await writeFile(path, damaged)
      expect([await messageOf(embeddedKeys(folder.path)), await Bun.file(path).text()]).toEqual([
        `${path} is damaged: restore it from a backup; without its keys the stored credentials can't be read`,
        damaged,
      ])
    }
  })
})

async function withEmbedded<T>(
  socketPath: string,
  use: (sql: ReturnType<typeof embeddedClient>) => Promise<T>,
): Promise<T> {
  const sql = embeddedClient(socketPath)
  try {
    return await use(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

function spawnChild(folder: string) {
  return Bun.spawn([process.execPath, join(import.meta.dir, 'embedded-child.ts'), folder], { stdout: 'pipe' })
}

async function* linesOf(output: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of output.pipeThrough(new TextDecoderStream() as never) as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

/** A tmpfs with room for a new registry and some 15 MB more. */
async function smallDisk(): Promise<AsyncDisposable & { readonly path: string; grow(): Promise<void> }> {
  const folder = await scratchFolder()
  await Bun.$`mount -t tmpfs -o size=60m tmpfs ${folder.path}`
  return {
    path: folder.path,
    grow: async () => void (await Bun.$`mount -o remount,size=200m ${folder.path}`),
    async [Symbol.asyncDispose]() {
      // Lazily: an engine that aborted leaves files open.
      await Bun.$`umount --lazy ${folder.path}`
      await folder[Symbol.asyncDispose]()
    },
  }
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777
}

function messageOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'no error',
    (error: Error) => error.message,
  )
}
