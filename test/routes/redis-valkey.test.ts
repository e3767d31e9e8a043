import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

describeWith('valkey', 'what Valkey answers otherwise than Redis 7.0', (store) => {
  const raw = new Redis({ host: store.host, port: store.port, password: store.password, db: 11, lazyConnect: true })
  let app: TestApp
  let id: string

  beforeAll(async () => {
    app = await createTestApp()
    id = (await app.register({ name: 'valkey', type: 'redis', connectionString: store.url.replace(/\/0$/, '/11') })).id
  })
  beforeEach(async () => void (await raw.flushdb()))
  afterAll(async () => {
    await raw.flushdb()
    raw.disconnect()
    await app?.[Symbol.asyncDispose]()
  })

  const get = (route: string) => app.request('GET', `/api/platform/redis/${id}/${route}`)

  test('200 the product, its own version and its mode', async () => {
    const { body } = await app.request('GET', `/api/platform/databases/${id}/info`)
    expect(body).toMatchObject({
      product: 'Valkey',
      version: expect.stringMatching(/^(9|\d{2,})\.\d+\.\d+$/),
      role: 'master',
      engine: { mode: 'standalone' },
      warnings: [],
    })
  })

  test('200 a logical database, of which it also counts keys with fields that expire', async () => {
    await raw.hset('h', 'a', '1')
    await raw.call('HEXPIRE', 'h', 60, 'FIELDS', 1, 'a')
    await raw.set('k', '1', 'EX', 60)
    expect(await raw.info('keyspace')).toMatch(/^db11:keys=2,expires=1,avg_ttl=\d+,keys_with_volatile_items=1\r$/m)
    const { body } = await get('databases')
    const [own] = body.data.filter(({ db }: { readonly db: number }) => db === 11)
    expect(own).toMatchObject({ keys: 2, expires: 1 })
  })

  test('200 how long a consumer has done nothing, and null for one that has never', async () => {
    await raw.xadd('s', '1-0', 'a', '1')
    await raw.xgroup('CREATE', 's', 'g', '0')
    await raw.xgroup('CREATECONSUMER', 's', 'g', 'idle')
    await raw.xreadgroup('GROUP', 'g', 'busy', 'STREAMS', 's', '>')
    const { body } = await get('streams/consumers?key=s&group=g')
    const told = body.data.map(({ consumer, inactive_ms }: Readonly<Record<string, unknown>>) => [
      consumer,
      inactive_ms,
    ])
    expect(told).toEqual([
      ['busy', expect.any(Number)],
      ['idle', null],
    ])
  })
})
