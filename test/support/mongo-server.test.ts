import { describe, expect, test } from 'bun:test'
import { MongoClient } from 'mongodb'
import type { Document, MongoClientOptions } from 'mongodb'
import { describeWith } from './describe-with.ts'
import type { MongoUser } from './mongo-server.ts'
import { canary, stores } from './stores.ts'

const { certificates } = stores()
const withClient = async <T>(url: string, options: MongoClientOptions, run: (client: MongoClient) => Promise<T>) => {
  await using client = new MongoClient(url, { serverSelectionTimeoutMS: 5_000, ...options })
  return await run(client)
}
const command = (url: string, document: Document, database = 'admin', options: MongoClientOptions = {}) =>
  withClient(url, options, (client) => client.db(database).command(document))

describeWith('mongo', 'mongo', (store) => {
  const withDatabase = <T>(run: (client: MongoClient, name: string) => Promise<T>) =>
    withClient(store.url, {}, async (client) => {
      const name = `harness_${crypto.randomUUID().slice(0, 8)}`
      try {
        return await run(client, name)
      } finally {
        await client.db(name).dropDatabase()
      }
    })

  test('answers as the writable primary of its set', async () => {
    expect(await command(store.url, { hello: 1 })).toMatchObject({
      isWritablePrimary: true,
      setName: store.replicaSet,
      me: `${store.host}:${store.port}`,
    })
  })

  test('keeps a committed transaction and nothing of an aborted one', async () => {
    const found = await withDatabase(async (client, name) => {
      const things = client.db(name).collection<{ _id: number }>('things')
      await using session = client.startSession()
      for (const end of ['commitTransaction', 'abortTransaction'] as const) {
        session.startTransaction()
        await things.insertOne({ _id: end.length }, { session })
        await session[end]()
      }
      return things.find().toArray()
    })
    expect(found).toEqual([{ _id: 'commitTransaction'.length }])
  })

  test('a change stream hears an insert', async () => {
    const change = await withDatabase(async (client, name) => {
      const things = client.db(name).collection<{ _id: number }>('things')
      const start = (await client.db('admin').command({ hello: 1 }))['operationTime']
      await using stream = things.watch([], { startAtOperationTime: start })
      await things.insertOne({ _id: 1 })
      return await stream.next()
    })
    expect(change).toMatchObject({ operationType: 'insert', fullDocument: { _id: 1 } })
  })

  test.skipIf(store.pid === null)('fails a command that a test chose, once', async () => {
    const outcomes = await withClient(store.url, { appName: 'harness-fail', retryReads: false }, async (client) => {
      const admin = client.db('admin')
      const data = { failCommands: ['count'], errorCode: 13, appName: 'harness-fail' }
      await admin.command({ configureFailPoint: 'failCommand', mode: { times: 1 }, data })
      const count = () => admin.command({ count: 'things' }).then(({ ok }) => ok, codeOf)
      return [await count(), await count()]
    })
    expect(outcomes).toEqual([13, 1])
  })
})

describeWith('mongoAuth', 'mongoAuth', (store) => {
  const { root, app, limited } = store.users
  const as = ({ username, password, authSource }: MongoUser): MongoClientOptions => ({
    auth: { username, password },
    authSource,
  })
  const address = `mongodb://${store.host}:${store.port}/`
  const outcome = (user: MongoUser, document: Document, database = 'app') =>
    command(address, document, database, as(user)).then(({ ok }) => ok, codeOf)

  test.each([root, app, limited])('answers $username in plain text', async (user) => {
    expect(await outcome(user, { ping: 1 })).toBe(1)
  })

  test.each(['127.0.0.1', 'localhost'])('answers over verified TLS as %s', async (host) => {
    const url = store.tlsUrl.replace(store.host, host)
    const me = await command(url, { connectionStatus: 1 }, 'admin', { ca: store.tlsCa, family: 4 })
    expect(me['authInfo']).toMatchObject({ authenticatedUsers: [{ user: 'root', db: 'admin' }] })
  })

  test('is refused by a client that trusts another CA', async () => {
    const options = { ca: certificates.unrelatedCa, serverSelectionTimeoutMS: 500 }
    await expect(command(store.tlsUrl, { ping: 1 }, 'admin', options)).rejects.toThrow()
  })

  test('refuses a wrong password and a wrong authSource', async () => {
    const wrong = [
      { ...app, password: `${canary}-wrong` },
      { ...app, authSource: 'admin' },
    ]
    expect(await Promise.all(wrong.map((user) => outcome(user, { ping: 1 })))).toEqual([18, 18])
  })

  test('does nothing for a client without a user, and the localhost exception is over', async () => {
    const documents = [{ find: 'things' }, { createUser: 'x', pwd: canary, roles: [] }]
    const outcomes = documents.map((document) => command(address, document, 'admin').catch(codeOf))
    expect(await Promise.all(outcomes)).toEqual([13, 13])
  })

  test('its app user writes in its own database alone', async () => {
    const insert = { insert: 'harness', documents: [{ _id: crypto.randomUUID() }] }
    expect([await outcome(app, insert), await outcome(app, insert, 'other')]).toEqual([1, 13])
    await outcome(app, { drop: 'harness' })
  })

  describe('its limited user', () => {
    test.each<[string, string, number, Document]>([
      ['reads', 'app', 1, { find: 'things' }],
      ['writes nothing', 'app', 13, { insert: 'things', documents: [{}] }],
      ['reads nothing elsewhere', 'other', 13, { find: 'things' }],
      ['has no serverStatus', 'admin', 13, { serverStatus: 1 }],
      ['has no full list of databases', 'admin', 13, { listDatabases: 1, authorizedDatabases: false }],
    ])('%s', async (_, database, code, document) => {
      expect(await outcome(limited, document, database)).toBe(code)
    })
  })

  test('its passwords hold the canary', () => {
    expect([root, app, limited].filter(({ password }) => !password.includes(canary))).toEqual([])
  })
})

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code
}
