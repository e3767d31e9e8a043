import { describe, expect, test } from 'bun:test'
import { once } from 'node:events'
import { connect } from 'node:net'
import { MongoClient } from 'mongodb'
import type { Document, MongoClientOptions } from 'mongodb'
import { canary, testPassword } from './credentials.ts'
import { fakeMongod, silent, startFakeServer } from './fake-servers.ts'
import type { FakeServer } from './fake-servers.ts'

const clientOf = (server: FakeServer, options: MongoClientOptions = {}) =>
  new MongoClient(`mongodb://127.0.0.1:${server.port}/`, { serverSelectionTimeoutMS: 2_000, ...options })

describe('fakeMongod', () => {
  test('a driver takes it for a server, in OP_QUERY and in OP_MSG', async () => {
    await using server = await startFakeServer(fakeMongod(() => ({})))
    for (const serverApi of [null, '1'] as const) {
      await using client = clientOf(server, serverApi === null ? {} : { serverApi })
      expect(await client.db('admin').command({ ping: 1 })).toEqual({ ok: 1 })
    }
  })

  test('a driver dials the members that it advertises', async () => {
    await using member = await startFakeServer(silent)
    const hosts = (port: number) => [`127.0.0.1:${port}`, `127.0.0.1:${member.port}`]
    await using server = await startFakeServer(
      fakeMongod((port) => ({
        setName: 'rs0',
        setVersion: 1,
        me: hosts(port)[0],
        primary: hosts(port)[0],
        hosts: hosts(port),
      })),
    )
    await using client = clientOf(server, { replicaSet: 'rs0' })
    const opened: string[] = []
    client.on('serverOpening', ({ address }) => opened.push(address))
    await client.db('admin').command({ ping: 1 })
    expect(opened.toSorted()).toEqual(hosts(server.port).toSorted())
  })

  test('leaves out of hello what is undefined', async () => {
    await using server = await startFakeServer(fakeMongod(() => ({ isWritablePrimary: undefined, msg: 'isdbgrid' })))
    await using client = clientOf(server)
    const hello = await client.db('admin').command({ hello: 1 })
    expect([hello['msg'], 'isWritablePrimary' in hello]).toEqual(['isdbgrid', false])
  })

  test('hands on every command whole, and answers what the test says or 59', async () => {
    const seen: Document[] = []
    const server = await startFakeServer(
      fakeMongod(
        () => ({}),
        (document) => {
          if ('insert' in document || 'drop' in document) seen.push(document)
          return 'insert' in document ? { n: 2 } : undefined
        },
      ),
    )
    await using _ = server
    await using client = clientOf(server)
    const things = client.db('app').collection<{ _id: number }>('things')
    const { insertedCount } = await things.insertMany([{ _id: 1 }, { _id: 2 }])
    const dropped = await things.drop().catch((error) => error.code)
    expect({ insertedCount, dropped, seen }).toMatchObject({
      insertedCount: 2,
      dropped: 59,
      seen: [
        { insert: 'things', $db: 'app', documents: [{ _id: 1 }, { _id: 2 }] },
        { drop: 'things', $db: 'app' },
      ],
    })
  })

  test('hears the user of a client that authenticates in clear text', async () => {
    const heard: Document[] = []
    await using server = await startFakeServer(
      fakeMongod(
        () => ({}),
        (document) => void heard.push(document),
      ),
    )
    const auth = { username: 'u', password: testPassword() }
    await using client = clientOf(server, { auth, authMechanism: 'PLAIN', authSource: '$external' })
    await client.connect().catch(() => {})
    const payload = heard.find((document) => 'saslStart' in document)?.['payload']
    expect(`${payload.toString('utf8')}`).toContain(canary)
  })

  test('closes on a client that speaks something else', async () => {
    await using server = await startFakeServer(fakeMongod(() => ({})))
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => {}).write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(socket.resume(), 'close')
  })
})
