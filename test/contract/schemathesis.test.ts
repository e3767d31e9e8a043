import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import { clientOf, productionEnvironment, type ServerProcess, startServer } from '#test/e2e/server.ts'
import { bunApiPeer } from '#test/engines/bun-api-peer.ts'
import { createScratchDatabase } from '#test/support/app.ts'
import { canary, stores } from '#test/support/stores.ts'
import { openApiDocument } from '#routes/index.ts'
import { listOperations } from './operations.ts'
import { runSchemathesis, type RunReport, unasked } from './schemathesis-run.ts'
import { findSchemathesis } from './schemathesis.ts'

/** The keys that the document's examples are of. */
const shownKeys: readonly (readonly [string, string[]])[] = [
  ['SET', ['greeting', 'hello']],
  ['HSET', ['user:1', 'name', 'Ada', 'code', '7']],
  ['RPUSH', ['queue', 'first', 'second', 'third']],
  // Some of them are popped.
  ['SADD', ['colours', 'red', ...Array.from({ length: 5_000 }, (_, n) => `shade ${n}`)]],
  ['ZADD', ['scores', '1', 'Ada', '2', 'Bob']],
  ['XADD', ['events', '1700000000000-0', 'type', 'signup']],
  ['XGROUP', ['CREATE', 'events', 'mailers', '0']],
]
/**
 * Without success: a grant is there no more once its database or project went, a group once it was deleted, and Debian's Redis has neither
 * RedisJSON nor TTLs of fields. `examples.test.ts` has what these need.
 */
const vain = new RegExp(
  [
    '^DELETE /api/platform/(databases|projects)/\\{\\w+\\}/permissions/\\{userId\\}$',
    '/streams/groups/set-id$',
    '/json$',
    '/hashes/ttl$',
  ].join('|'),
)
const examples = process.env['TEST_FULL'] === '1' ? 50 : 10
const project = 'contract'
const mongoDatabase = `schemathesis_${process.pid}`
const document = JSON.parse(JSON.stringify(openApiDocument())) as Readonly<Record<string, unknown>>
const leftOut = unasked(document)
const operations = listOperations(document).filter(({ id }) => !leftOut.has(id))
const label = 'the running server, asked by schemathesis'
const schemathesis = await findSchemathesis()
const { redis, mongo, postgres18 } = stores()
const missing = [
  ...(schemathesis === null ? ['schemathesis'] : []),
  ...(redis === null ? ['redis'] : []),
  ...(mongo === null ? ['mongo'] : []),
]

if (missing.length > 0) describe(label, () => test.skip(`needs ${missing.join(' and ')}`, () => {}))
else
  describe(label, () => {
    const cleanup = new AsyncDisposableStack()
    let server: ServerProcess
    let report: RunReport

    beforeAll(async () => {
      if (schemathesis === null || redis === null || mongo === null) return
      const folder = await mkdtemp(join(tmpdir(), 'bun-api-schemathesis-'))
      cleanup.defer(() => rm(folder, { recursive: true, force: true }))
      const registry = cleanup.use(await createScratchDatabase(postgres18))
      const documents = cleanup.use(new MongoClient(mongo.url))
      cleanup.defer(async () => void (await documents.db(mongoDatabase).dropDatabase()))
      await documents
        .db(mongoDatabase)
        .collection('tasks')
        .insertMany([{ title: 'first' }, { title: 'second' }])

      // A logical database of its own: what is written to it is random.
      const redisUrl = Object.assign(new URL(redis.url), { pathname: '/9' }).href
      const cache = new Bun.RedisClient(redisUrl)
      cleanup.defer(() => cache.close())
      cleanup.defer(async () => void (await cache.send('FLUSHDB', [])))
      for (const command of shownKeys) await cache.send(...command)

      const peer = bunApiPeer()
      // It starts with its first request, which takes longer than a registration may.
      await fetch(`http://127.0.0.1:${peer.port}/health`)
      const targets = {
        postgres: { type: 'postgres', connectionString: postgres18.reader.url },
        redis: { type: 'redis', connectionString: redisUrl },
        mongodb: { type: 'mongodb', connectionString: mongo.url },
        'bun-api': { type: 'bun_api', connectionString: `http://:${peer.key}@127.0.0.1:${peer.port}` },
        changing: { type: 'redis', connectionString: redisUrl },
        leaving: { type: 'redis', connectionString: redisUrl },
      }
      const env = {
        ...productionEnvironment(registry.url),
        // Whatever else is generated is refused before it is dialled.
        EGRESS_ALLOW: Object.values(targets)
          .map(({ connectionString }) => new URL(connectionString).host)
          .join(','),
      }
      server = cleanup.use(startServer({ env, flags: ['--preload', join(import.meta.dir, 'schemathesis-preload.ts')] }))
      const client = clientOf(await server.url, env.BUN_API_KEY)
      const create = async (path: string, body: object): Promise<string> => {
        const answer = await client.request('POST', `/api/platform/${path}`, body)
        if (answer.status !== 201) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`)
        return ((await answer.json()) as { id: string }).id
      }
      await create('projects', { organizationSlug: 'default', ref: project, name: 'Contract' })
      const register = (name: keyof typeof targets) =>
        create('databases', { projectRef: project, name, ...targets[name] })
      const ids = {
        postgres: await register('postgres'),
        redis: await register('redis'),
        mongodb: await register('mongodb'),
        'bun-api': await register('bun-api'),
        changing: await register('changing'),
        leaving: await register('leaving'),
      }
      const { changing, leaving, ...kept } = ids
      const apiKey = await create('api-keys', { name: 'leaving', projectRef: project, role: 'read' })
      report = await runSchemathesis(schemathesis, {
        client,
        folder,
        examples,
        known: [
          { tag: 'postgres', parameters: { 'path.databaseId': [ids.postgres] } },
          { tag: 'redis', parameters: { 'path.databaseId': [ids.redis] } },
          { tag: 'api-keys', methods: ['DELETE'], parameters: { 'path.id': [apiKey] } },
          {
            tag: 'mongodb',
            parameters: {
              'path.databaseId': [ids.mongodb],
              'query.databaseName': [mongoDatabase],
              'query.collection': ['tasks'],
              'body.databaseName': [mongoDatabase],
              'body.collection': ['tasks'],
            },
          },
          { tag: 'bun-api', parameters: { 'path.databaseId': [ids['bun-api']] } },
          {
            tag: 'databases',
            methods: ['GET', 'POST'],
            parameters: {
              'path.id': Object.values(kept),
              'path.projectRef': [project],
              'path.name': Object.keys(kept),
              'body.projectRef': [project],
              'body.connectionString': [redisUrl],
            },
          },
          { tag: 'databases', methods: ['PATCH'], parameters: { 'path.id': [changing] } },
          { tag: 'databases', methods: ['DELETE'], parameters: { 'path.id': [leaving] } },
        ],
      })
      if (process.env['TEST_VERBOSE'] === '1') console.log(report.text, report.statuses)
    }, 900_000)
    afterAll(() => cleanup.disposeAsync())

    test('answers nothing but what its document says, and no 5xx', () => {
      expect({ failures: report.failures, printed: report.exitCode === 0 ? '' : report.text }).toEqual({
        failures: [],
        printed: '',
      })
    })

    test('is asked every operation that ends, with success, and in vain where it takes input', () => {
      const unseen = operations.flatMap(({ method, url, spec }) => {
        const name = `${method.toUpperCase()} ${url}`
        const seen = [...(report.statuses.get(name)?.keys() ?? [])]
        const success = vain.test(name) || seen.some((status) => status < 300) ? [] : [`${name} 2xx`]
        return '400' in spec.responses && !seen.includes(400) ? [...success, `${name} 400`] : success
      })
      expect(unseen).toEqual([])
    })

    test('still runs, and has logged no secret', async () => {
      const { status } = await fetch(`${await server.url}/health`)
      const leaks = [...server.lines, server.errors()].filter((line) => line.includes(canary))
      expect({ status, leaks }).toEqual({ status: 200, leaks: [] })
    })
  })
