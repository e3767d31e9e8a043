import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { MongoClient } from 'mongodb'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { canary } from '#test/support/stores.ts'

describeWith('mongo', 'a MongoDB replica set', (store) => {
  const client = new MongoClient(store.url)
  const database = `databases_${process.pid}`
  let app: TestApp
  let id: string
  let nameless: string
  beforeAll(async () => {
    app = await createTestApp()
    const base = `mongodb://${store.host}:${store.port}`
    const query = `?replicaSet=${store.replicaSet}`
    id = (await app.register({ name: 'named', type: 'mongodb', connectionString: `${base}/${database}${query}` })).id
    nameless = (await app.register({ name: 'nameless', type: 'mongodb', connectionString: `${base}/${query}` })).id
    const db = client.db(database)
    await db.collection('tasks').insertMany([{}, {}])
    await db.createCollection('a view', { viewOn: 'tasks', pipeline: [] })
    await db.createCollection('series', { timeseries: { timeField: 't' } })
    await db.createCollection('é.dots')
  })
  afterAll(async () => {
    await client.db(database).dropDatabase()
    await client.close()
    await app?.[Symbol.asyncDispose]()
  })
  const get = (path: string, of = id) => app.request('GET', `/api/platform/mongodb/${of}/${path}`)

  test('200 databases, with their size', async () => {
    const { status, body } = await get('databases')
    expect(status).toBe(200)
    expect(body.data).toContainEqual({ name: database, size_on_disk: expect.any(Number), empty: false })
  })

  test('200 collections by name with their type: views, time series and names of any kind', async () => {
    expect((await get('collections')).body).toEqual({
      data: [
        { name: 'a view', type: 'view' },
        { name: 'series', type: 'timeseries' },
        { name: 'system.buckets.series', type: 'collection' },
        { name: 'system.views', type: 'collection' },
        { name: 'tasks', type: 'collection' },
        { name: 'é.dots', type: 'collection' },
      ],
    })
    expect((await get('collections?databaseName=no_such_database')).body).toEqual({ data: [] })
  })

  test('200 stats of the registered database, and of another that is named', async () => {
    const { status, body } = await get('stats')
    expect([status, body]).toEqual([
      200,
      expect.objectContaining({ db: database, views: 2, objects: expect.any(Number), totalSize: expect.any(Number) }),
    ])
    expect(body).not.toHaveProperty('$clusterTime')
    expect((await get('stats?databaseName=admin', nameless)).body.db).toBe('admin')
  })

  test('400 names databaseName: missing where none is registered, and malformed', async () => {
    for (const path of ['collections', 'stats', 'documents?collection=a']) {
      const { status, body } = await get(path, nameless)
      expect([path, status, body.error.details[0].field]).toEqual([path, 400, 'databaseName'])
    }
    for (const name of ['', 'a b', 'a/b', '..', '$external', 'x'.repeat(64), '\0', '"', 'a\\'])
      for (const path of ['collections', 'stats']) {
        const { status, body } = await get(`${path}?databaseName=${encodeURIComponent(name)}`)
        expect([name, status, body.error.details[0].field]).toEqual([name, 400, 'databaseName'])
      }
  })

  test('404 for an unknown id and another engine’s; 400 for what is no id', async () => {
    const unknown = '00000000-0000-4000-8000-000000000000'
    for (const path of ['databases', 'collections', 'stats', 'documents?collection=a']) {
      expect((await get(path, unknown)).body.error.code).toBe('DB_NOT_FOUND')
      expect((await get(path, 'x')).body.error.details[0].field).toBe('databaseId')
      expect((await app.request('GET', `/api/platform/redis/${id}/get?key=a`)).body.error.code).toBe('DB_NOT_FOUND')
    }
  })

  test('200 info: replica set, role, size and uptime', async () => {
    const { body } = await app.request('GET', `/api/platform/databases/${id}/info`)
    expect(body).toMatchObject({
      product: 'MongoDB',
      role: 'primary',
      size_bytes: expect.any(Number),
      uptime_seconds: expect.any(Number),
      engine: { replica_set: store.replicaSet, hosts: 1, connections: expect.any(Number) },
      warnings: [],
    })
  })

  test('400 for a replica set of another name', async () => {
    const connectionString = `mongodb://${store.host}:${store.port}/?replicaSet=other`
    const body = { projectRef: 'default', name: 'other-set', type: 'mongodb', connectionString }
    const answer = await app.request('POST', '/api/platform/databases', { body })
    expect([answer.status, answer.body.error.details]).toMatchObject([400, { reason: 'protocol', stage: 'auth' }])
  })
})

describeWith('mongoAuth', 'a MongoDB server with users', (store) => {
  let app: TestApp
  beforeAll(async () => {
    app = await createTestApp()
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
  })
  const { root, app: owner, limited } = store.users
  const url = ({ username, password }: { username: string; password: string }, query = '', path = 'app') =>
    `mongodb://${username}:${encodeURIComponent(password)}@${store.host}:${store.port}/${path}${query}`
  const post = (input: object, query = '') =>
    app.request('POST', `/api/platform/databases${query}`, {
      body: { projectRef: 'default', type: 'mongodb', ...input },
    })
  const wrong = { username: root.username, password: `${canary}-wrong` }

  test('400 on registration and 424 on use for a wrong password, a wrong authSource, an unknown user', async () => {
    const strings = {
      password: url(wrong, '?authSource=admin'),
      source: url(root, '?authSource=elsewhere'),
      user: url({ ...root, username: 'nobody' }, '?authSource=admin'),
      mechanism: url(wrong, '?authSource=admin&authMechanism=SCRAM-SHA-1'),
    }
    for (const [name, connectionString] of Object.entries(strings)) {
      const refused = await post({ name: `wrong-${name}`, connectionString })
      expect([name, refused.status, refused.body.error.code]).toEqual([name, 400, 'DB_INVALID_CREDENTIALS'])
      const { id } = (await post({ name: `wrong-${name}`, connectionString }, '?skipTest=true')).body
      for (const path of ['databases', 'collections', 'stats', 'documents?collection=a']) {
        const { status, body } = await app.request('GET', `/api/platform/mongodb/${id}/${path}`)
        expect([name, status, body.error.code, body.error.retryable]).toEqual([
          name,
          424,
          'DB_INVALID_CREDENTIALS',
          false,
        ])
      }
    }
  })

  test('201 with config.authSource, which loses to that of the connection string', async () => {
    const config = { authSource: 'admin', retryWrites: true, w: 'majority', readPreference: 'primaryPreferred' }
    expect((await post({ name: 'mongo-primary', connectionString: url(root), config })).status).toBe(201)
    const losing = { connectionString: url(root, '?authSource=app'), config }
    expect((await post({ name: 'losing', ...losing })).body.error.code).toBe('DB_INVALID_CREDENTIALS')
    expect((await post({ name: 'by-path', connectionString: url(owner) })).status).toBe(201)
  })

  test('a user with few rights lists what it may see, and is told what it may not', async () => {
    await using client = new MongoClient(store.url)
    await client.db('app').collection('tasks').insertOne({})
    const row = (await post({ name: 'limited', connectionString: url(limited) })).body
    expect(row.warnings).toEqual([expect.stringContaining('serverStatus')])
    const get = (path: string) => app.request('GET', `/api/platform/mongodb/${row.id}/${path}`)
    expect((await get('databases')).body.data.map(({ name }: { name: string }) => name)).toEqual(['app'])
    expect((await get('collections')).body.data).toContainEqual({ name: 'tasks', type: 'collection' })
    expect((await get('documents?collection=tasks')).status).toBe(200)
    const info = await app.request('GET', `/api/platform/databases/${row.id}/info`)
    expect(info.body).toMatchObject({ uptime_seconds: null, size_bytes: expect.any(Number) })
    const forbidden = await get('documents?collection=tasks&databaseName=other')
    expect([forbidden.status, forbidden.body.error.code, forbidden.body.error.details]).toEqual([
      400,
      'DB_QUERY_ERROR',
      { code: 13, name: 'Unauthorized' },
    ])
  })

  describe('TLS', () => {
    test('201 with config.caCertificate, in the connection string’s form and in the fields’', async () => {
      const config = { caCertificate: store.tlsCa, authSource: 'admin' }
      const { id } = (await post({ name: 'tls', connectionString: url(root, '?tls=true'), config })).body
      expect((await app.request('GET', `/api/platform/mongodb/${id}/collections`)).status).toBe(200)
      const { username, password } = root
      const fields = { host: 'localhost', port: store.port, databaseName: 'app', username, password, tls: true }
      expect((await post({ name: 'tls-fields', ...fields, config })).status).toBe(201)
    })

    test('400 for tls: require, which MongoDB has no safe form of', async () => {
      const { status, body } = await post({ name: 'weak', host: store.host, tls: 'require' })
      expect([status, body.error.details[0].field]).toEqual([400, 'tls'])
    })
  })
})
