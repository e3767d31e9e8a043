import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { MongoClient } from 'mongodb'
import { openApiDocument } from '#routes/index.ts'
import { bunApiPeer } from '#test/engines/bun-api-peer.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'
import { type GeneratedRequest, requestsFor } from './arbitraries.ts'
import {
  type DocumentedOperation,
  isStreamed,
  listOperations,
  readStreamed,
  schemaCheck,
  takesLines,
} from './operations.ts'
import { inRedis, shownKeys } from './redis-examples.ts'

const runs = process.env['TEST_FULL'] === '1' ? 1_000 : 60
const document = JSON.parse(JSON.stringify(openApiDocument())) as Readonly<Record<string, unknown>>
const errorsOf = schemaCheck(document)

let app: TestApp
const ids: Record<string, string> = {}
const mongoDatabase = `conformance_${process.pid}`
beforeAll(async () => {
  // Names resolve nowhere: what is generated is never dialled but where it says 127.0.0.1.
  const resolve = async (host: string) => (host === 'localhost' || host.startsWith('127.') ? ['127.0.0.1'] : [])
  app = await createTestApp({ registry: 'postgres18', overrides: { resolve } })
  const { redis, mongo, postgres18 } = stores()
  const register = async (name: string, type: string, connectionString: string | undefined) => {
    if (connectionString !== undefined) ids[name] = (await app.register({ name, type, connectionString })).id
  }
  await register('main', 'postgres', postgres18.reader.url)
  await register('cache', 'redis', redis?.url)
  await register('documents', 'mongodb', mongo?.url)
  const { port, key } = bunApiPeer()
  // It starts with its first request, which takes longer than a registration may.
  await fetch(`http://127.0.0.1:${port}/health`)
  await register('peer', 'bun_api', `http://:${key}@127.0.0.1:${port}`)
  if (mongo !== null) {
    await using client = new MongoClient(mongo.url)
    await client
      .db(mongoDatabase)
      .collection('tasks')
      .insertMany([{ title: 'first' }, { title: 'second' }])
  }
}, 60_000)
afterAll(async () => {
  const { mongo } = stores()
  if (mongo !== null) {
    await using client = new MongoClient(mongo.url)
    await client.db(mongoDatabase).dropDatabase()
  }
  await app?.[Symbol.asyncDispose]()
})

/** Values that exist, but not for what would remove them. */
function known({ id, method, url }: DocumentedOperation): (parameter: string) => readonly string[] {
  const engine = /^(Redis|Mongo|BunApi)/.exec(id)?.[0] ?? ''
  const database = ids[{ Redis: 'cache', Mongo: 'documents', BunApi: 'peer' }[engine] ?? 'main']
  const values: Readonly<Record<string, readonly (string | undefined)[]>> = {
    id: [ids['main'], ids['cache'], ids['documents'], ids['peer']],
    databaseName: [mongoDatabase],
    collection: ['tasks'],
    databaseId: [database],
    db: ['0'],
    projectRef: ['default'],
    ref: ['default'],
    name: ['main', 'cache'],
  }
  const removes = method === 'delete' && !url.includes('{databaseId}')
  return (parameter) => (removes ? [] : (values[parameter] ?? []).filter((value) => value !== undefined))
}

async function send(operation: DocumentedOperation, { path, query, headers, body }: GeneratedRequest) {
  const { method, url, spec } = operation
  const search = new URLSearchParams(query).toString()
  const target = url.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent((path[name] ?? '').toWellFormed()),
  )
  const given = [method.toUpperCase(), search === '' ? target : `${target}?${search}`] as const
  const json = { headers, ...(spec.requestBody === undefined ? {} : { body: JSON.stringify(body) ?? 'null' }) }
  const options = takesLines(operation)
    ? { headers: { ...headers, 'content-type': 'application/x-ndjson' }, body: (body as string).toWellFormed() }
    : json
  if (isStreamed(operation)) return readStreamed(await app.stream(...given, options))
  return { ...(await app.request(...given, options)), isStream: false }
}

describe('what is generated from the document is answered as the document says', () => {
  for (const operation of listOperations(document)) {
    test(
      operation.id,
      async () => {
        const seen = new Map<number, number>()
        await fc.assert(
          fc.asyncProperty(requestsFor(operation, document, known(operation)), async (request) => {
            await inRedis(shownKeys[operation.id] ?? [])
            // The example of a ref is the project that all of this works in.
            fc.pre(operation.method !== 'delete' || request.path['ref'] !== 'default')
            const { status, text, body, isStream } = await send(operation, request)
            seen.set(status, (seen.get(status) ?? 0) + 1)
            const response = operation.spec.responses[status]
            const schema = isStream ? undefined : response?.content?.['application/json']?.schema
            expect({ status, isDocumented: response !== undefined, text: status >= 500 ? text : '' }).toEqual({
              status,
              isDocumented: true,
              text: '',
            })
            expect(schema === undefined ? text : errorsOf(schema, body)).toEqual(schema === undefined ? '' : [])
          }),
          { numRuns: runs },
        )
        if (process.env['TEST_VERBOSE'] === '1') console.log(operation.id, Object.fromEntries(seen))
      },
      120_000,
    )
  }
})
