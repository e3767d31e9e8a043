import { afterAll, beforeAll, expect, test } from 'bun:test'
import { BSON, MongoClient } from 'mongodb'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

describeWith('mongo', 'pages after an _id that no cursor can carry', (store) => {
  const client = new MongoClient(store.url)
  const db = client.db(`cursors_${process.pid}`)
  let app: TestApp
  let id: string
  beforeAll(async () => {
    app = await createTestApp()
    const connectionString = `mongodb://${store.host}:${store.port}/${db.databaseName}?replicaSet=${store.replicaSet}`
    id = (await app.register({ name: 'cursors', type: 'mongodb', connectionString })).id
  })
  afterAll(async () => {
    await db.dropDatabase()
    await client.close()
    await app?.[Symbol.asyncDispose]()
  })

  // An object would have number-like keys in front.
  const ordered = (...keys: readonly string[]) => new Map(keys.map((key) => [key, 1]))
  const numberLike = [
    ordered('b', '2', '1'),
    ordered('b', '1', '2'),
    ordered('c', '2', '1'),
    ordered('2', 'b'),
    ordered('a', '0'),
  ]
  const long = Array.from({ length: 8 }, (_, n) => `${'x'.repeat(3_000 + 500 * n)}${n}`)
  const plain = [new BSON.Int32(-1), 'a', 'y', { a: 1 }, { z: 1 }, new BSON.ObjectId(), true, new BSON.MaxKey()]

  const ids = { number_like: numberLike, long, mixed: [...plain, ...numberLike, ...long] }
  for (const [name, values] of Object.entries(ids))
    for (const limit of [1, 2, 3, 100])
      test(`200 with each exactly once, in order: ${name}, ${limit} a page`, async () => {
        const collection = db.collection<{ _id: unknown; at: number }>(`${name}_${limit}`)
        await collection.insertMany(values.map((_id, at) => ({ _id, at })) as never)
        const expected = await collection.find({}, { sort: { _id: 1 } }).toArray()
        const found: number[] = []
        for (let cursor: string | null | undefined; cursor !== null;) {
          const query = new URLSearchParams({
            collection: collection.collectionName,
            limit: String(limit),
            ...(cursor ? { cursor } : {}),
          })
          const { status, body } = await app.request('GET', `/api/platform/mongodb/${id}/documents?${query}`)
          expect(status).toBe(200)
          found.push(...body.data.map(({ at }: { at: number }) => at))
          cursor = body.pagination.next_cursor
          expect((cursor ?? '').length).toBeLessThanOrEqual(4_000)
        }
        expect(found).toEqual(expected.map(({ at }) => at))
      })
})
