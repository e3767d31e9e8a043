import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { MongoClient } from 'mongodb'
import { openApiDocument } from '#routes/index.ts'
import { bunApiPeer } from '#test/engines/bun-api-peer.ts'
import { type Answer, createTestApp, type TestApp } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'
import {
  type DocumentedOperation,
  isStreamed,
  listOperations,
  readStreamed,
  type Schema,
  schemaCheck,
} from './operations.ts'
import { inRedis, lackedOperations, shownKeys } from './redis-examples.ts'

const document = JSON.parse(JSON.stringify(openApiDocument())) as Schema
const operations = listOperations(document)
const errorsOf = schemaCheck(document)
const mongoDatabase = `examples_${process.pid}`

/** What stands in for documented values that no real server has. */
interface Substitutes {
  readonly path?: Readonly<Record<string, string | undefined>>
  /** null leaves one out: it excludes another. */
  readonly query?: Readonly<Record<string, string | null>>
  readonly body?: Readonly<Record<string, unknown>>
}
type Prepare = () => Substitutes | Promise<Substitutes>

let app: TestApp
const grantedUser = crypto.randomUUID()
const ids: Record<string, string> = {}
beforeAll(async () => {
  app = await createTestApp()
  const { redis, mongo, postgres18 } = stores()
  const { port, key } = bunApiPeer()
  // It starts with its first request, which takes longer than a registration may.
  await fetch(`http://127.0.0.1:${port}/health`)
  for (const [name, type, connectionString] of [
    ['cache', 'redis', redis?.url],
    ['main', 'postgres', postgres18.reader.url],
    ['documents', 'mongodb', mongo?.url],
    ['peer', 'bun_api', `http://:${key}@127.0.0.1:${port}`],
  ] as const) {
    if (connectionString !== undefined) ids[name] = (await app.register({ name, type, connectionString })).id
  }
  await inMongo((client) => client.db(mongoDatabase).collection('tasks').insertOne({ title: 'Buy milk' }))
}, 60_000)
afterAll(async () => {
  await inMongo((client) => client.db(mongoDatabase).dropDatabase())
  await app?.[Symbol.asyncDispose]()
})

async function inMongo(run: (client: MongoClient) => Promise<unknown>): Promise<void> {
  const { mongo } = stores()
  if (mongo === null) return
  await using client = new MongoClient(mongo.url)
  await run(client)
}

const asIs: Prepare = () => ({})
const registered: Prepare = () => ({ path: { id: ids['main'] } })
const onRedis: Prepare = () => ({ path: { databaseId: ids['cache'] } })
const onKeys =
  (commands: (typeof shownKeys)[string]): Prepare =>
  async () => {
    await inRedis(commands)
    return { path: { databaseId: ids['cache'] } }
  }
const onPostgres: Prepare = () => ({ path: { databaseId: ids['main'] } })
const onPeer: Prepare = () => ({ path: { databaseId: ids['peer'] } })
const onMongo: Prepare = () => ({ path: { databaseId: ids['documents'] }, query: { databaseName: mongoDatabase } })
const onRealRedis: Prepare = () => ({ body: { connectionString: stores().redis?.url } })
const neverChanged: Prepare = async () => ({ path: { id: (await registerUntested(`d-${crypto.randomUUID()}`)).id } })

/** How each operation's documented request becomes one that a real server can answer; a new route joins here. */
const preparations: Readonly<Record<string, Prepare>> = {
  ApiKeysController_create: asIs,
  ApiKeysController_list: asIs,
  ApiKeysController_revoke: async () => {
    const body = { name: 'short', projectRef: 'default', role: 'read' }
    return { path: { id: (await app.request('POST', '/api/platform/api-keys', { body })).body.id } }
  },
  HealthController_live: asIs,
  HealthController_ready: asIs,
  InfoController_get: asIs,
  BunApiController_health: onPeer,
  BunApiController_info: onPeer,
  DatabasePermissionsController_list: registered,
  DatabasePermissionsController_remove: async () => {
    const { id } = await registerUntested(`d-${crypto.randomUUID()}`)
    await app.request('PUT', `/api/platform/databases/${id}/permissions/${grantedUser}`, { body: { role: 'read' } })
    return { path: { id, userId: grantedUser } }
  },
  DatabasePermissionsController_set: registered,
  DatabasesController_create: onRealRedis,
  DatabasesController_get: registered,
  DatabasesController_getByName: async () => {
    const taken = await app.request('GET', '/api/platform/databases/by-name/default/redis-cache')
    if (taken.status === 404) await registerUntested('redis-cache')
    return {}
  },
  DatabasesController_info: registered,
  DatabasesController_list: asIs,
  DatabasesController_remove: neverChanged,
  DatabasesController_stats: asIs,
  DatabasesController_testSaved: registered,
  DatabasesController_testUnsaved: onRealRedis,
  DatabasesController_update: neverChanged,
  MongoAggregateController_run: async () => ({
    ...(await onMongo()),
    body: { databaseName: mongoDatabase },
  }),
  MongoCollectionsController_list: onMongo,
  MongoDatabasesController_list: onMongo,
  MongoDatabasesController_stats: onMongo,
  MongoDocumentsController_list: onMongo,
  OrganizationsController_create: asIs,
  OrganizationsController_list: asIs,
  PostgresQueryController_run: onPostgres,
  PostgresTablesController_list: onPostgres,
  ProjectPermissionsController_list: asIs,
  ProjectPermissionsController_remove: async () => {
    const url = `/api/platform/projects/default/permissions/${grantedUser}`
    await app.request('PUT', url, { body: { role: 'read' } })
    return { path: { userId: grantedUser } }
  },
  ProjectPermissionsController_set: asIs,
  ProjectsController_create: asIs,
  ProjectsController_get: asIs,
  ProjectsController_list: asIs,
  ProjectsController_remove: async () => {
    const body = { name: 'Empty', ref: 'empty', organizationSlug: 'default' }
    await app.request('POST', '/api/platform/projects', { body })
    return { path: { ref: 'empty' } }
  },
  ProjectsController_update: asIs,
  ...Object.fromEntries(Object.entries(shownKeys).map(([id, commands]) => [id, onKeys(commands)])),
  RedisKeysController_list: async () => ({ ...(await onRedis()), query: { patternBase64: null } }),
  RedisMonitorController_watch: onRedis,
  RedisMovingController_export: onRedis,
  RedisMovingController_import: onRedis,
  RedisPubsubController_listen: onRedis,
  RedisPubsubController_publish: onRedis,
  RedisPubsubController_watchKeys: async () => {
    await inRedis([['CONFIG', 'SET', 'notify-keyspace-events', 'KEA']])
    return onRedis()
  },
  RedisStreamTailController_follow: async () => ({ ...(await onRedis()), query: { key: 'orders' } }),
}

function registerUntested(name: string): Promise<{ id: string }> {
  const connectionString = 'redis://default:password@127.0.0.1:6379/0'
  const body = { projectRef: 'default', name, type: 'redis', connectionString }
  return app.request('POST', '/api/platform/databases?skipTest=true', { body }).then((answer) => answer.body)
}

function resolved(schema: Schema): Schema {
  const named = (document['components'] as { schemas: Record<string, Schema> }).schemas
  return typeof schema['$ref'] === 'string' ? (named[schema['$ref'].split('/').at(-1) ?? ''] ?? {}) : schema
}

/** Sends what the document shows, every optional value of it included. */
async function sendExample(
  operation: DocumentedOperation,
  { path = {}, query = {}, body = {} }: Substitutes,
): Promise<Pick<Answer, 'status' | 'text' | 'body'> & { readonly isStream: boolean }> {
  const { method, url, spec } = operation
  const shown = (place: string) =>
    (spec.parameters ?? [])
      .filter((parameter) => parameter.in === place)
      .flatMap(({ name, schema }): [string, string][] => {
        const { example, examples, default: fallback, enum: values } = resolved(schema)
        const value = example ?? ((examples ?? []) as unknown[])[0] ?? fallback ?? ((values ?? []) as unknown[])[0]
        return value === undefined ? [] : [[name, String(value)]]
      })
  const paths = { ...Object.fromEntries(shown('path')), ...path }
  const target = url.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(paths[name] ?? ''))
  const queries = shown('query').flatMap(([name, value]): [string, string][] =>
    query[name] === null ? [] : [[name, query[name] ?? value]],
  )
  const schema = spec.requestBody?.content['application/json']?.schema
  const search = new URLSearchParams(queries).toString()
  const given = [method.toUpperCase(), search === '' ? target : `${target}?${search}`] as const
  const lines = spec.requestBody?.content['application/x-ndjson']?.schema['example']
  const headers = {
    ...Object.fromEntries(shown('header')),
    ...(lines === undefined ? {} : { 'content-type': 'application/x-ndjson' }),
  }
  const json = schema === undefined ? {} : { body: { ...(resolved(schema)['example'] as object), ...body } }
  const options = { headers, ...(lines === undefined ? json : { body: lines }) }
  if (isStreamed(operation)) return readStreamed(await app.stream(...given, options))
  return { ...(await app.request(...given, options)), isStream: false }
}

const lacked = await lackedOperations()
const missing = [
  ...(stores().redis === null ? ['Redis', 'DatabasesController_create', 'DatabasesController_testUnsaved'] : []),
  ...(stores().mongo === null ? ['Mongo'] : []),
]

describe('the documented example is answered as documented', () => {
  test('of every operation there is', () => {
    expect(Object.keys(preparations).sort()).toEqual(operations.map(({ id }) => id).sort())
  })

  for (const operation of operations) {
    const { id, spec } = operation
    if (missing.some((prefix) => id.startsWith(prefix))) {
      test.skip(`${id} needs its store`, () => {})
      continue
    }
    if (lacked.some((prefix) => id.startsWith(prefix))) {
      test(`${id} is refused as what this server lacks`, async () => {
        const { status, body } = await sendExample(operation, (await preparations[id]?.()) ?? {})
        expect({ status, code: body?.error?.code }).toEqual({ status: 400, code: 'DB_UNSUPPORTED' })
      })
      continue
    }
    test(id, async () => {
      const [status, response] = Object.entries(spec.responses).find(([key]) => key.startsWith('2')) ?? []
      const answer = await sendExample(operation, (await preparations[id]?.()) ?? {})
      const schema = answer.isStream ? undefined : response?.content?.['application/json']?.schema
      // A connection test answers 200 for whatever it finds.
      const isFine = answer.status < 400 && (answer.body?.ok ?? true) === true
      expect({ status: answer.status, problem: isFine ? '' : answer.text }).toEqual({
        status: Number(status),
        problem: '',
      })
      expect(schema === undefined ? answer.text : errorsOf(schema, answer.body)).toEqual(schema === undefined ? '' : [])
    })
  }
})
