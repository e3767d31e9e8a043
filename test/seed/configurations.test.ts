import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Document } from 'mongodb'
import { Redis } from 'ioredis'
import { newName, path } from '#test/registry/registries.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { fakeMongod, startFakeServer } from '#test/support/fake-servers.ts'

// Appendix B.
const ofRedis = { maxmemory: '256mb', maxmemory_policy: 'allkeys-lru', databases: 16 }
const ofMongo = { authSource: 'admin', retryWrites: true, w: 'majority', readPreference: 'primaryPreferred' }

let app: TestApp
beforeAll(async () => {
  app = await createTestApp()
})
afterAll(() => app?.[Symbol.asyncDispose]())

describeWith('redis', 'the sample configuration of Redis', (redis) => {
  const at = (database: number) => redis.url.replace(/\/\d+$/, `/${database}`)

  test('is kept, bounds the database number, and changes nothing at the server', async () => {
    const given = { name: 'redis-cache', type: 'redis', description: 'Primary cache instance', config: ofRedis }
    const row = await app.register({ ...given, connectionString: at(15) })
    expect(row).toMatchObject({ ...given, database_name: '15', status: 'active' })
    const body = { projectRef: 'default', ...given, name: newName(), connectionString: at(16) }
    const beyond = await app.request('POST', path, { body })
    expect([beyond.status, beyond.body.error.code]).toEqual([400, 'VALIDATION_FAILED'])
    const client = new Redis(redis.url)
    try {
      expect(await client.config('GET', 'maxmemory*')).not.toContain('268435456')
    } finally {
      client.disconnect()
    }
  })
})

describeWith('mongoAuth', 'the sample configuration of MongoDB', ({ host, port, users }) => {
  const { username, password } = users.root
  const connectionString = `mongodb://${username}:${password}@${host}:${port}/app`
  const given = { type: 'mongodb', description: 'Primary document store' }

  test('is kept, and its authSource decides where the user is looked for', async () => {
    const row = await app.register({ ...given, name: 'mongo-primary', connectionString, config: ofMongo })
    expect(row).toMatchObject({ ...given, name: 'mongo-primary', config: ofMongo, status: 'active' })
    expect((await app.request('GET', `/api/platform/mongodb/${row.id}/collections`)).status).toBe(200)
    const { body } = await app.request('POST', `${path}/test`, { body: { type: 'mongodb', connectionString } })
    expect(body.error.code).toBe('DB_INVALID_CREDENTIALS')
    const elsewhere = await app.request('POST', `${path}/test`, {
      body: { type: 'mongodb', connectionString: `${connectionString}?authSource=app`, config: ofMongo },
    })
    expect(elsewhere.body.error.code).toBe('DB_INVALID_CREDENTIALS')
  })

  test('its readPreference goes with every read', async () => {
    const reads: Document[] = []
    await using server = await startFakeServer(
      fakeMongod(
        (own) => ({
          setName: 'rs0',
          hosts: [`127.0.0.1:${own}`],
          me: `127.0.0.1:${own}`,
          setVersion: 1,
          primary: `127.0.0.1:${own}`,
        }),
        (command) => {
          const [name] = Object.keys(command)
          if (name !== 'find' && name !== 'listCollections') return undefined
          reads.push(command)
          return { cursor: { id: 0n, ns: 'app.tasks', firstBatch: [] } }
        },
      ),
    )
    const body = {
      projectRef: 'default',
      name: newName(),
      type: 'mongodb',
      config: ofMongo,
      connectionString: `mongodb://127.0.0.1:${server.port}/app?replicaSet=rs0`,
    }
    const { id } = (await app.request('POST', `${path}?skipTest=true`, { body })).body
    const page = await app.request('GET', `/api/platform/mongodb/${id}/documents?collection=tasks`)
    expect(page.body.data).toEqual([])
    const find = reads.filter((read) => 'find' in read)
    expect(find.map((read) => read['$readPreference'])).toEqual([{ mode: 'primaryPreferred' }])
  })
})
