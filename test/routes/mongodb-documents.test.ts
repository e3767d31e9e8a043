import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { BSON, type Db, MongoClient } from 'mongodb'
import { ejsonKey, ejsonValue } from '#test/engines/ejson-arbitraries.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

const { EJSON } = BSON

describeWith('mongo', 'GET /mongodb/{databaseId}/documents', (store) => {
  const client = new MongoClient(store.url)
  const database = `documents_${process.pid}`
  const db: Db = client.db(database)
  let app: TestApp
  let id: string
  beforeAll(async () => {
    app = await createTestApp({ env: { MAX_RESPONSE_BYTES: '1000000' } })
    const connectionString = `mongodb://${store.host}:${store.port}/${database}?replicaSet=${store.replicaSet}`
    id = (await app.register({ name: 'documents', type: 'mongodb', connectionString })).id
  })
  afterAll(async () => {
    await db.dropDatabase()
    await client.close()
    await app?.[Symbol.asyncDispose]()
  })

  const read = (query: Readonly<Record<string, string>>, accept?: string) =>
    app.request('GET', `/api/platform/mongodb/${id}/documents?${new URLSearchParams(query)}`, {
      headers: accept === undefined ? {} : { accept },
    })
  const readAll = async (collection: string, limit: number, between?: (page: number) => Promise<void>) => {
    const pages: BSON.Document[][] = []
    for (let cursor: string | null | undefined; cursor !== null;) {
      const { status, body, text } = await read({ collection, limit: String(limit), ...(cursor ? { cursor } : {}) })
      expect([status, text.length < 10_000_000]).toEqual([200, true])
      pages.push((EJSON.parse(text, { relaxed: false }) as { data: BSON.Document[] }).data)
      cursor = body.pagination.next_cursor
      expect(body.pagination.has_more).toBe(cursor !== null)
      if (cursor !== null) await between?.(pages.length)
    }
    return pages
  }
  const bytesOf = (document: BSON.Document) => BSON.serialize(document, { ignoreUndefined: false })
  const mixedIds = [
    ...Array.from({ length: 20 }, (_, n) => new BSON.Int32(n - 10)),
    BSON.Long.fromString('9007199254740993'),
    BSON.Long.MAX_VALUE,
    new BSON.Double(0.5),
    new BSON.Double(NaN),
    new BSON.Double(-Infinity),
    BSON.Decimal128.fromString('1.10'),
    null,
    true,
    false,
    '',
    'a',
    'é',
    'z'.repeat(300),
    '6b02f060092a893219416880',
    new BSON.ObjectId('6b02f060092a893219416880'),
    new BSON.ObjectId(),
    new BSON.UUID(),
    new BSON.Binary(Buffer.from('bytes')),
    new Date(-1),
    new Date(0),
    new Date('2026-01-01'),
    { a: 1 },
    { a: 1, b: 1 },
    { b: { c: [1] } },
    new BSON.Timestamp({ t: 5, i: 1 }),
    new BSON.MinKey(),
    new BSON.MaxKey(),
  ]

  for (const limit of [1, 3, 7, 100, 1000])
    test(`200 with each _id of any type exactly once, ${limit} a page`, async () => {
      const collection = db.collection<{ _id: unknown }>(`mixed_${limit}`)
      await collection.insertMany(mixedIds.map((_id) => ({ _id })) as never, { ignoreUndefined: false })
      const pages = await readAll(`mixed_${limit}`, limit)
      expect(pages.slice(0, -1).every((page) => page.length === limit)).toBe(true)
      const expected = await collection.find({}, { raw: true, sort: { _id: 1 } }).toArray()
      expect(pages.flat().map((document) => Buffer.from(bytesOf(document)).toString('hex'))).toEqual(
        (expected as unknown as Uint8Array[]).map((bytes) => Buffer.from(bytes).toString('hex')),
      )
    })

  test('200 without a gap when documents are deleted between pages, the last one read too', async () => {
    const collection = db.collection<{ _id: number }>('shrinking')
    await collection.insertMany(Array.from({ length: 50 }, (_, _id) => ({ _id })))
    const pages = await readAll('shrinking', 5, async (page) => {
      await collection.deleteMany({ _id: { $lt: page * 5, $gte: page * 5 - 3 } })
    })
    expect(pages.flat().map((document) => Number(document['_id']))).toEqual(Array.from({ length: 50 }, (_, n) => n))
  })

  test('200 for views, time series, capped and clustered collections and those with a collation', async () => {
    const rows = Array.from({ length: 11 }, (_, n) => ({ _id: n, t: new Date(n), name: `n${n}` }))
    const plain = rows as never
    await db.collection('base').insertMany(plain)
    await db.createCollection('view', { viewOn: 'base', pipeline: [{ $project: { _id: 0, name: 1 } }] })
    await db.createCollection('series', { timeseries: { timeField: 't' } })
    await db.createCollection('capped', { capped: true, size: 100_000 })
    await db.createCollection('clustered', { clusteredIndex: { key: { _id: 1 }, unique: true } } as never)
    await db.createCollection('collated', { collation: { locale: 'de', strength: 1 } })
    for (const name of ['series', 'capped', 'clustered']) await db.collection(name).insertMany(plain)
    const words = ['b', 'A', 'c', 'Ä1', 'z'].map((_id) => ({ _id }))
    await db.collection('collated').insertMany(words as never)
    for (const name of ['view', 'series', 'capped', 'clustered']) {
      const names = (await readAll(name, 3)).flat().map((document) => String(document['name']))
      expect([name, names.toSorted()]).toEqual([name, rows.map((row) => row.name).toSorted()])
    }
    expect((await readAll('collated', 2)).flat().map(({ _id }) => String(_id))).toEqual(['A', 'Ä1', 'b', 'c', 'z'])
  })

  test('200 and an empty page for a collection that is not there', async () => {
    const { status, body } = await read({ collection: 'nowhere' })
    expect([status, body]).toEqual([200, { data: [], pagination: { next_cursor: null, has_more: false } }])
  })

  test('200 with every BSON type, byte for byte', async () => {
    const documents = fc
      .sample(
        fc.dictionary(
          ejsonKey.filter((key) => key !== '_id'),
          ejsonValue,
          { maxKeys: 8 },
        ),
        300,
      )
      .map((document, _id) => Object.defineProperties({ _id }, Object.getOwnPropertyDescriptors(document)))
    const collection = db.collection('types')
    await collection.insertMany(documents as never, { ignoreUndefined: false })
    const stored = (await collection.find({}, { raw: true, sort: { _id: 1 } }).toArray()) as unknown as Uint8Array[]
    const found = (await readAll('types', 50)).flat()
    expect(found.length).toBe(300)
    for (const [index, bytes] of stored.entries()) expect(Buffer.compare(bytesOf(found[index] ?? {}), bytes)).toBe(0)
  })

  describe('Accept', () => {
    test('application/ejson picks a pure form by its mode, anything else the readable one', async () => {
      await db.collection('forms').insertOne({
        _id: new BSON.Int32(1) as never,
        long: BSON.Long.fromNumber(2),
        double: new BSON.Double(3),
        date: new Date(0),
      })
      const data = async (accept?: string) => {
        const { headers, body } = await read({ collection: 'forms' }, accept)
        return [headers.get('content-type'), body.data[0]]
      }
      const readable = {
        _id: 1,
        long: { $numberLong: '2' },
        double: { $numberDouble: '3.0' },
        date: { $date: '1970-01-01T00:00:00.000Z' },
      }
      for (const accept of [undefined, '*/*', 'application/json', 'application/ejson', 'application/ejson; mode=x'])
        expect(await data(accept)).toEqual(['application/json', readable])
      expect(await data('application/ejson; mode=canonical')).toEqual([
        'application/ejson; mode=canonical',
        { ...readable, _id: { $numberInt: '1' }, date: { $date: { $numberLong: '0' } } },
      ])
      expect(await data('text/html, application/ejson;mode="relaxed";q=0.9')).toEqual([
        'application/ejson; mode=relaxed',
        { ...readable, long: 2, double: 3 },
      ])
    })
  })

  describe('400', () => {
    test('names the wrong parameter', async () => {
      const table = {
        collection: ['', 'a$b', 'a\0b', 'c'.repeat(256)],
        databaseName: ['', 'a b', 'a/b', 'a.b', '$external', 'd'.repeat(64), 'a\0', 'a"b', 'a\\b'],
        limit: ['', '0', '-1', '1001', '1.5', 'abc', '1e2'],
        cursor: ['', 'abc', 'a.b', 'c'.repeat(8001), '\0'],
      }
      for (const [field, values] of Object.entries(table))
        for (const value of values) {
          const { status, body } = await read({ collection: 'forms', [field]: value })
          expect([field, value.slice(0, 20), status, body.error.code]).toEqual([
            field,
            value.slice(0, 20),
            400,
            'VALIDATION_FAILED',
          ])
          expect(body.error.details.map((detail: { field: string }) => detail.field)).toContain(field)
        }
      expect((await read({})).body.error.details[0].field).toBe('collection')
    })

    test('for a cursor of another collection, database or server, and for one that was changed', async () => {
      await db.collection('pages').insertMany([{}, {}])
      const { body } = await read({ collection: 'pages', limit: '1' })
      const cursor: string = body.pagination.next_cursor
      await using other = await createTestApp()
      const otherId = (await other.register({ name: 'other', type: 'mongodb', connectionString: store.url })).id
      const answers = [
        await read({ collection: 'forms', cursor }),
        await read({ collection: 'pages', databaseName: 'other', cursor }),
        await read({ collection: 'pages', cursor: cursor.replace(/^./, (first) => (first === 'W' ? 'X' : 'W')) }),
        await read({ collection: 'pages', cursor: `${cursor}x` }),
        await other.request(
          'GET',
          `/api/platform/mongodb/${otherId}/documents?${new URLSearchParams({ collection: 'pages', cursor })}`,
        ),
      ]
      expect(answers.map((answer) => [answer.status, answer.body.error.code])).toEqual(
        Array(5).fill([400, 'VALIDATION_FAILED']),
      )
      expect((await read({ collection: 'pages', cursor })).status).toBe(200)
    })
  })

  describe('413', () => {
    test('RESULT_TOO_LARGE for a page above MAX_RESPONSE_BYTES, and 200 for fewer documents of it', async () => {
      const text = 'x'.repeat(100_000)
      await db
        .collection<{ _id: number; text: string }>('large')
        .insertMany(Array.from({ length: 100 }, (_, _id) => ({ _id, text })))
      const { status, body } = await read({ collection: 'large', limit: '100' })
      expect([status, body.error.code, body.error.details]).toEqual([413, 'RESULT_TOO_LARGE', { max_bytes: 1_000_000 }])
      expect((await readAll('large', 9)).flat().length).toBe(100)
    })

    test('counts the text, which may be several times the bytes', async () => {
      const values = Array.from({ length: 80_000 }, () => new BSON.MinKey())
      await db.collection('wordy').insertOne({ values })
      expect((await read({ collection: 'wordy' })).body.error.code).toBe('RESULT_TOO_LARGE')
    })

    test('for one document of 16 MB, with little memory', async () => {
      const collection = db.collection<{ _id: number; text: string }>('huge')
      const text = 'x'.repeat(16_000_000)
      for (let _id = 0; _id < 8; _id++) await collection.insertOne({ _id, text })
      Bun.gc(true)
      const before = process.memoryUsage.rss()
      expect((await read({ collection: 'huge', limit: '1000' })).status).toBe(413)
      expect(process.memoryUsage.rss() - before).toBeLessThan(100_000_000)
    }, 20_000)
  })
})

describeWith('mongo', 'a document of 16 MB', (store) => {
  test('200 where MAX_RESPONSE_BYTES allows it', async () => {
    await using client = new MongoClient(store.url)
    const db = client.db(`huge_${process.pid}`)
    await using app = await createTestApp({ env: { MAX_RESPONSE_BYTES: '33554432' } })
    const { id } = await app.register({ name: 'huge', type: 'mongodb', connectionString: store.url })
    await db.collection('huge').insertOne({ text: 'x'.repeat(16_777_100) })
    const query = new URLSearchParams({ collection: 'huge', databaseName: db.databaseName })
    const { status, body } = await app.request('GET', `/api/platform/mongodb/${id}/documents?${query}`)
    await db.dropDatabase()
    expect([status, body.data[0].text.length]).toEqual([200, 16_777_100])
  })
})
