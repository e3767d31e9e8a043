import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type RedisGroup, type RedisNode, startRedisGroup, until } from '#test/support/redis-cluster.ts'

describeWith('redisOpen', 'a Redis primary and its replica, registered one by one', () => {
  let group: RedisGroup
  let app: TestApp
  let [one, two] = [] as unknown as [RedisNode, RedisNode]
  let ids: readonly [string, string]
  beforeAll(async () => {
    group = await startRedisGroup()
    one = await group.start([])
    two = await group.start([`replicaof 127.0.0.1 ${one.port}`])
    await linkUp(two)
    app = await createTestApp()
    const register = async (name: string, { port }: RedisNode): Promise<string> => {
      const connectionString = `redis://:${group.password}@127.0.0.1:${port}/0`
      return (await app.register({ name, type: 'redis', connectionString })).id
    }
    ids = [await register('one', one), await register('two', two)]
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await group?.[Symbol.asyncDispose]()
  })

  const linkUp = (node: RedisNode) =>
    until(async () => String(await node.run('info', 'replication')).includes('master_link_status:up'))
  const set = (index: 0 | 1, key: string, value: string) =>
    app.request('POST', `/api/platform/redis/${ids[index]}/set`, { body: { key, value } })
  const push = (index: 0 | 1, key: string) =>
    app.request('POST', `/api/platform/redis/${ids[index]}/transaction`, { body: { commands: [['RPUSH', key, 'x']] } })
  const get = async (index: 0 | 1, key: string) => {
    const { status, body } = await app.request('GET', `/api/platform/redis/${ids[index]}/get?key=${key}`)
    return status === 200 ? body.value : body.error.code
  }

  test('a replica is read, and a write to it is 503 DB_NOT_PRIMARY and not done', async () => {
    expect((await set(0, 'kept', 'first')).status).toBe(200)
    await one.run('wait', 1, 1_000)
    expect([await get(0, 'kept'), await get(1, 'kept')]).toEqual(['first', 'first'])
    for (const refused of [await set(1, 'kept', 'second'), await push(1, 'list')])
      expect([refused.status, refused.body.error.code, refused.body.error.retryable]).toEqual([
        503,
        'DB_NOT_PRIMARY',
        true,
      ])
    expect([await one.run('get', 'kept'), await one.run('exists', 'list')]).toEqual(['first', 0])
  })

  test('when the roles change, so do the answers, within 5 s and without losing what was written', async () => {
    await two.run('replicaof', 'no', 'one')
    await one.run('replicaof', '127.0.0.1', two.port)
    const changed = performance.now()
    await until(async () => (await set(1, 'kept', 'second')).status === 200)
    await until(async () => (await push(1, 'list')).status === 200)
    expect(performance.now() - changed).toBeLessThan(5_000)
    await linkUp(one)
    const refused = await set(0, 'kept', 'third')
    expect([refused.status, refused.body.error.code]).toEqual([503, 'DB_NOT_PRIMARY'])
    await two.run('wait', 1, 1_000)
    expect([await get(0, 'kept'), await get(1, 'kept')]).toEqual(['second', 'second'])
  })

  test('a replica that lost its primary says so: 503 DB_NOT_PRIMARY for reads too where it serves no old values', async () => {
    await one.run('config', 'set', 'replica-serve-stale-data', 'no')
    two.kill()
    await until(async () => (await get(0, 'kept')) === 'DB_NOT_PRIMARY')
    await one.run('replicaof', 'no', 'one')
    const promoted = performance.now()
    await until(async () => (await get(0, 'kept')) === 'second')
    await until(async () => (await set(0, 'kept', 'fourth')).status === 200)
    expect(performance.now() - promoted).toBeLessThan(5_000)
  })
})
