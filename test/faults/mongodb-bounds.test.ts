import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { BSON, type Document } from 'mongodb'
import { eventually } from '#test/engines/peers.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { fakeMongod, startFakeServer } from '#test/support/fake-servers.ts'

let app: TestApp
beforeAll(async () => {
  app = await createTestApp({ env: { MAX_RESPONSE_BYTES: '65536' } })
})
afterAll(async () => {
  await app?.[Symbol.asyncDispose]()
})

let names = 0
const add = async (connectionString: string, to = app): Promise<string> => {
  const body = { projectRef: 'default', name: `bounds-${names++}`, type: 'mongodb', connectionString }
  return (await to.request('POST', '/api/platform/databases?skipTest=true', { body })).body.id
}
const get = (id: string, path: string, signal?: AbortSignal) =>
  app.request('GET', `/api/platform/mongodb/${id}/${path}`, signal === undefined ? {} : { signal })
const lists = ['collections', 'documents?collection=a'] as const

/** A server whose cursors never end: `batch` makes what each `getMore` brings, and is told how many there were. */
async function startEndless(batch: (round: number) => readonly Document[], firstTo?: string, to = app) {
  const sent: string[] = []
  const rounds = () => sent.filter((name) => name === 'getMore').length
  const server = await startFakeServer(
    fakeMongod(
      () => ({}),
      (command) => {
        const [name = ''] = Object.keys(command)
        sent.push(name)
        const ended = name === 'listCollections' && firstTo === 'find'
        const cursor = { id: BSON.Long.fromNumber(ended ? 0 : 5), ns: 'app.a' }
        if (name === 'getMore') return { cursor: { ...cursor, nextBatch: batch(rounds()) } }
        return name === 'find' || name === 'listCollections' ? { cursor: { ...cursor, firstBatch: [] } } : undefined
      },
    ),
  )
  const id = await add(`mongodb://127.0.0.1:${server.port}/app`, to)
  return { id, sent, rounds, [Symbol.asyncDispose]: () => server.close() }
}

describe('a list without an end', () => {
  test('413 for more than 10,000 collections, and the cursor is closed', async () => {
    await using roomy = await createTestApp()
    const thousand = (round: number) => Array.from({ length: 1_000 }, (_, n) => ({ name: `${round}-${n}` }))
    await using peer = await startEndless(thousand, undefined, roomy)
    const { status, body } = await roomy.request('GET', `/api/platform/mongodb/${peer.id}/collections`)
    expect([status, body.error.code, body.error.details]).toEqual([413, 'RESULT_TOO_LARGE', { max_entries: 10_000 }])
    expect(peer.rounds()).toBe(11)
    await eventually(() => peer.sent.includes('killCursors'))
  })

  test('413 for collections of more than MAX_RESPONSE_BYTES', async () => {
    await using peer = await startEndless(() => [{ name: 'n'.repeat(10_000) }])
    const { status, body } = await get(peer.id, 'collections')
    expect([status, body.error.code, body.error.details]).toEqual([413, 'RESULT_TOO_LARGE', { max_bytes: 65_536 }])
    expect(peer.rounds()).toBe(7)
  })

  for (const path of lists)
    test(`503 for empty batches alone: ${path}`, async () => {
      await using peer = await startEndless(() => [], 'find')
      await using lister = await startEndless(() => [])
      const { id, rounds } = path === 'collections' ? lister : peer
      const { status, body } = await get(id, path)
      expect([status, body.error.code, body.error.details]).toEqual([
        503,
        'DB_CONNECTION_FAILED',
        { reason: 'protocol' },
      ])
      expect(rounds()).toBeLessThanOrEqual(120)
    })

  for (const path of lists)
    test(`ends with its caller: ${path}`, async () => {
      const leaving = new AbortController()
      const batch = (round: number) => {
        if (round === 5) leaving.abort()
        return []
      }
      await using peer = await startEndless(batch, path === 'collections' ? undefined : 'find')
      await get(peer.id, path, leaving.signal).catch(() => undefined)
      // Long enough for thousands of rounds.
      await Bun.sleep(300)
      expect(peer.rounds()).toBeWithin(5, 8)
    })
})

describe('one reply that is long', () => {
  test('413 for databases and stats of more than MAX_RESPONSE_BYTES', async () => {
    const long = 'n'.repeat(65_536)
    await using server = await startFakeServer(
      fakeMongod(
        () => ({}),
        (command) =>
          'listDatabases' in command
            ? { databases: [{ name: long }] }
            : 'dbStats' in command
              ? { db: 'app', long }
              : undefined,
      ),
    )
    const id = await add(`mongodb://127.0.0.1:${server.port}/app`)
    for (const path of ['databases', 'stats']) {
      const { status, body } = await get(id, path)
      expect([path, status, body.error.details]).toEqual([path, 413, { max_bytes: 65_536 }])
    }
  })

  test('no name of an error that is none, and no key', async () => {
    for (const codeName of ['n'.repeat(65), 'a b', '<script>', '', 5, { a: 1 }]) {
      await using server = await startFakeServer(
        fakeMongod(
          () => ({}),
          (command) =>
            'listDatabases' in command ? { ok: 0, code: 11000, codeName, keyPattern: { secret: 1 } } : undefined,
        ),
      )
      const { status, body } = await get(await add(`mongodb://127.0.0.1:${server.port}/app`), 'databases')
      expect([status, body.error.code, body.error.details]).toEqual([409, 'DB_CONFLICT', { code: 11000 }])
    }
  })
})

describe('a set of very many members', () => {
  const probe = async (hosts: readonly string[], more: Document = {}) => {
    await using server = await startFakeServer(
      fakeMongod((port) => ({ setName: 'rs0', setVersion: 1, me: `127.0.0.1:${port}`, hosts, ...more })),
    )
    const connectionString = `mongodb://127.0.0.1:${server.port}/app?replicaSet=rs0`
    const { body } = await app.request('POST', '/api/platform/databases/test', {
      body: { type: 'mongodb', connectionString },
    })
    return body.error
  }

  test('400 for more than 50, none of which is dialled', async () => {
    await using recorder = await startFakeServer((socket) => void socket.destroy())
    // Every address of 127.0.0.0/8 leads here, but only one of them listens; one port of it is enough to be seen.
    const many = Array.from({ length: 2_000 }, (_, n) => `127.0.${n >> 8}.${n & 255}:${recorder.port}`)
    const halves = { hosts: many.slice(0, 30), passives: many.slice(30, 60) }
    for (const error of [await probe(many), await probe([], halves)])
      expect([error.code, error.details.reason]).toEqual(['DB_CONNECTION_FAILED', 'protocol'])
    expect(recorder.dials).toBe(0)
  })
})
