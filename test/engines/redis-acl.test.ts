import { afterAll, beforeAll, expect, test } from 'bun:test'
import { slotOfKey } from '#src/engines/redis/topology/cluster-slots.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { testPassword } from '#test/support/credentials.ts'
import { describeWith } from '#test/support/describe-with.ts'
import {
  type RedisCluster,
  type RedisGroup,
  type RedisNode,
  startCluster,
  startRedisGroup,
} from '#test/support/redis-cluster.ts'

const keys = { string: 'app:string', list: 'app:list', hash: 'app:hash' }
const many = 200
const all = many + Object.keys(keys).length + 1

describeWith('redisOpen', 'ACL users of Redis with few rights', () => {
  let group: RedisGroup
  let server: RedisNode
  let app: TestApp
  let reader: string
  let uncounted: string
  beforeAll(async () => {
    group = await startRedisGroup()
    server = await group.start([])
    await server.run('set', keys.string, 'hello', 'PX', 600_000)
    await server.run('rpush', keys.list, 'a', 'b')
    await server.run('hset', keys.hash, 'field', 'value')
    await server.run('set', 'other', 'hidden')
    await server.run('mset', ...Array.from({ length: many }, (_, n) => [`many:${n}`, 'x']).flat())
    app = await createTestApp()
    // Neither PING nor SELECT, CONFIG, COMMAND or INFO.
    reader = await register('reader', '~app:*', '+@read')
    uncounted = await register('uncounted', '~app:*', '~many:*', '+@read', '-dbsize')
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await group?.[Symbol.asyncDispose]()
  })

  const register = async (name: string, ...rights: readonly string[]): Promise<string> => {
    const password = testPassword()
    await server.run('acl', 'setuser', name, 'on', `>${password}`, ...rights)
    const connectionString = `redis://${name}:${password}@127.0.0.1:${server.port}/0`
    return (await app.register({ name, type: 'redis', connectionString })).id
  }
  const ask = async (rest: string, id = reader) => {
    const { status, body } = await app.request('GET', `/api/platform/redis/${id}/${rest}`)
    return [status, status === 200 ? body : body.error.code]
  }
  const walk = async (id: string): Promise<readonly string[]> => {
    const found: string[] = []
    for (let cursor = ''; ;) {
      const { status, body } = await app.request('GET', `/api/platform/redis/${id}/keys?pattern=app:*${cursor}`)
      expect(status).toBe(200)
      found.push(...body.data.map(({ key }: { key: string }) => key))
      if (!body.pagination.has_more) return [...new Set(found)].sort()
      cursor = `&cursor=${body.pagination.next_cursor}`
    }
  }

  test('register, pass the test of the connection, and are told what can not be shown', async () => {
    const { body } = await app.request('POST', `/api/platform/databases/${reader}/test`)
    expect(body).toMatchObject({ ok: true, server: { product: 'Redis', version: 'unknown' } })
    expect(body.warnings.join()).toContain('does not allow INFO')
  })

  test('read their keys and no others', async () => {
    expect(await ask(`get?key=${keys.string}`)).toMatchObject([200, { value: 'hello', type: 'string' }])
    expect(await ask('get?key=other')).toEqual([400, 'DB_QUERY_ERROR'])
    expect(await ask('get?key=app:absent')).toEqual([404, 'NOT_FOUND'])
  })

  test('read every type that they may', async () => {
    expect(await ask(`key?key=${keys.hash}`)).toMatchObject([200, { type: 'hash' }])
    expect(await ask(`hashes?key=${keys.hash}`)).toMatchObject([200, { data: [{ field: 'field', value: 'value' }] }])
    expect(await ask(`lists?key=${keys.list}`)).toMatchObject([200, { data: [{ value: 'a' }, { value: 'b' }] }])
    expect(await ask('key?key=other')).toEqual([400, 'DB_QUERY_ERROR'])
  })

  test('400 DB_QUERY_ERROR for what the server does not tell them', async () => {
    expect(await ask('config')).toEqual([400, 'DB_QUERY_ERROR'])
    expect(await ask('info')).toEqual([400, 'DB_QUERY_ERROR'])
  })

  test('page through their keys', async () => {
    expect(await walk(reader)).toEqual(Object.values(keys).sort())
  })

  test('page through their keys without the right to DBSIZE', async () => {
    expect(await walk(uncounted)).toEqual(Object.values(keys).sort())
    expect(await ask('keys?pattern=app:*', uncounted)).toMatchObject([200, { db_size: null }])
    expect(await ask('keys?pattern=app:*')).toMatchObject([200, { db_size: all }])
    expect(await ask(`keys?pattern=${keys.list}`, uncounted)).toMatchObject([
      200,
      { data: [{ key: keys.list, type: 'list', ttl_ms: null }], scanned: 1, db_size: null },
    ])
  })

  test('page through the keys of others too, without a type, a TTL or a size', async () => {
    const hidden = { key: 'other', type: null, ttl_ms: null }
    const [status, { data, pagination }] = await ask('keys?count=1000')
    expect([status, data.length, pagination.has_more]).toEqual([200, all, false])
    expect(data.filter(({ type }: { type: unknown }) => type === null).length).toBe(many + 1)
    expect(data.find(({ key }: { key: string }) => key === keys.list)).toEqual({
      key: keys.list,
      type: 'list',
      ttl_ms: null,
    })
    expect(data.find(({ key }: { key: string }) => key === 'other')).toEqual(hidden)
    const sizes = (await ask('keys?count=1000&memory=true'))[1].data
    expect(sizes.find(({ key }: { key: string }) => key === 'other')).toEqual({ ...hidden, size_bytes: null })
    expect(sizes.find(({ key }: { key: string }) => key === keys.list).size_bytes).toBeGreaterThan(0)
    // The name alone says the same as the walk, also of a key that is not there.
    expect(await ask('keys?pattern=other')).toMatchObject([200, { data: [hidden], db_size: all }])
    expect(await ask('keys?pattern=absent')).toMatchObject([200, { data: [], pagination: { has_more: false } }])
  })

  test('a key that they may only write to has no type, nor what they may not MEMORY USAGE a size', async () => {
    const writer = await register('writer', '%W~app:*', '+@read', '+@write')
    expect(await ask('keys?pattern=app:h*', writer)).toMatchObject([200, { data: [{ type: null, ttl_ms: null }] }])
    const unsized = await register('unsized', '~*', '+@read', '-memory')
    expect(await ask('keys?pattern=app:h*&memory=true', unsized)).toMatchObject([
      200,
      { data: [{ type: 'hash', ttl_ms: null, size_bytes: null }] },
    ])
    expect(await ask('memory', unsized)).toEqual([400, 'DB_QUERY_ERROR'])
  })

  test('see the tree of names, with the types of their own keys', async () => {
    const expected = {
      data: [
        { name: 'app', keys: 3, types: { string: 1, list: 1, hash: 1 } },
        { name: 'many', keys: many, types: {} },
        { name: 'other', keys: 1, is_key: true, types: {} },
      ],
      complete: true,
    }
    expect(await ask('keys/tree')).toMatchObject([200, { ...expected, db_size: all, scanned: all }])
    const [status, tree] = await ask('keys/tree', uncounted)
    expect([status, tree.db_size, tree.data[1].types]).toEqual([200, null, { string: many }])
    expect((await ask('keys/tree'))[1].data[1].types).toEqual({})
    // What SCAN was asked for, where nobody says how many there are.
    expect(tree.scanned).toBeGreaterThanOrEqual(all)
  })

  test('try and run a deletion by pattern without the right to DBSIZE', async () => {
    const cleaner = await register('cleaner', '~gone:*', '+@read', '+unlink', '-dbsize')
    await server.run('mset', 'gone:1', 'x', 'gone:2', 'x')
    const remove = (body: unknown) => app.request('POST', `/api/platform/redis/${cleaner}/keys/delete`, { body })
    const preview = { count: 2, db_size: null, scanned: expect.any(Number), complete: true }
    expect((await remove({ pattern: 'gone:*', dryRun: true })).body).toMatchObject(preview)
    expect((await remove({ pattern: 'gone:1', dryRun: true })).body).toMatchObject({ count: 1, db_size: null })
    const { status, text } = await remove({ pattern: 'gone:*' })
    const done = /event: done\ndata: (.*)/.exec(text)?.[1] ?? 'null'
    expect([status, JSON.parse(done)]).toMatchObject([200, { deleted: 2, db_size: null }])
    expect(await server.run('dbsize')).toBe(all)
    // What is theirs is deleted, what is not ends it.
    await server.run('mset', 'gone:3', 'x', 'not:gone:3', 'x')
    const refused = await remove({ pattern: '*gone:3' })
    expect([refused.status, refused.body.error.details.code]).toEqual([400, 'NOPERM'])
    expect(await server.run('mget', 'gone:3', 'not:gone:3')).toEqual([null, 'x'])
    await server.run('del', 'not:gone:3')
  })

  test('are told where the memory goes: in proportion to what they may look at, if DBSIZE is known', async () => {
    const [status, whole] = await ask('memory?samples=10000', uncounted)
    expect([status, whole.sampled, whole.refused, whole.db_size, whole.complete]).toEqual([200, all - 1, 1, null, true])
    expect([whole.total.estimated_keys, whole.total.estimated_bytes]).toEqual([all - 1, whole.total.bytes])
    const [, part] = await ask('memory?samples=1', uncounted)
    expect([part.complete, part.db_size, part.total.estimated_keys, part.types[0].estimated_bytes]).toEqual([
      false,
      null,
      null,
      null,
    ])
    const few = (await ask('memory?samples=10000'))[1]
    expect([few.sampled, few.refused, few.total.estimated_keys, few.db_size]).toEqual([3, many + 1, 3, all])
    // Half of the keys may be looked at, so that an estimate from a part of them is of that half.
    const half = await register('half', '~many:1*', '+@read')
    const [, sample] = await ask('memory?samples=50', half)
    const proportion = all / (sample.sampled + sample.refused)
    expect([sample.complete, sample.refused > 0]).toEqual([false, true])
    expect(sample.total.estimated_keys).toBe(Math.round(sample.sampled * proportion))
  })

  test('are told of the databases as far as their rights go', async () => {
    const unknown = { expires: null, avg_ttl_ms: null }
    const only = (found: number | null) => ({ data: [{ db: 0, keys: found, ...unknown }], complete: false })
    expect(await ask('databases')).toMatchObject([200, only(all)])
    expect(await ask('databases', uncounted)).toMatchObject([200, only(null)])
    const selecting = await register('selecting', '~app:*', '+@read', '-dbsize', '+select')
    const data = Array.from({ length: 16 }, (_, db) => ({ db, keys: null, ...unknown }))
    expect(await ask('databases', selecting)).toMatchObject([200, { data, source: 'dbsize', complete: true }])
    const informed = await register('informed', '~app:*', '+@read', '-dbsize', '+info')
    expect(await ask('databases', informed)).toMatchObject([
      200,
      { data: [{ db: 0, keys: all }], source: 'info', complete: true },
    ])
  })

  test('a write is refused by Redis, and nothing is written', async () => {
    const body = { key: keys.string, value: 'x' }
    const answer = await app.request('POST', `/api/platform/redis/${reader}/set`, { body })
    expect([answer.status, answer.body.error.code, answer.body.error.details.code]).toEqual([
      400,
      'DB_QUERY_ERROR',
      'NOPERM',
    ])
    expect(await server.run('get', keys.string)).toBe('hello')
  })
})

describeWith('redisOpen', 'ACL users of a Redis Cluster without the rights to INFO and DBSIZE', () => {
  let cluster: RedisCluster
  let app: TestApp
  let id: string
  beforeAll(async () => {
    cluster = await startCluster(2, 0)
    app = await createTestApp()
    const password = testPassword()
    for (const node of cluster.nodes)
      await node.run('acl', 'setuser', 'few', 'on', `>${password}`, '~app:*', '+@read', '+cluster', '-dbsize')
    const connectionString = cluster.url.replace(/\/\/[^@]*@/, `//few:${password}@`)
    id = (await app.register({ name: 'few', type: 'redis', connectionString, config: cluster.config })).id
    for (const name of [...Array.from({ length: 50 }, (_, n) => `app:${n}`), 'other'])
      await (await cluster.ownerOf(slotOfKey(name))).run('set', name, 'x')
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await cluster?.[Symbol.asyncDispose]()
  })
  const ask = (rest: string) => app.request('GET', `/api/platform/redis/${id}/${rest}`)

  test('page through keys, see their tree, and are told of the one database', async () => {
    const { body } = await ask('keys?count=1000')
    const types = Map.groupBy(body.data, ({ type }: { type: string | null }) => type)
    expect([types.get('string')?.length, types.get(null), body.db_size, body.pagination.has_more]).toEqual([
      50,
      [{ key: 'other', type: null, ttl_ms: null }],
      null,
      false,
    ])
    expect((await ask('keys/tree')).body).toMatchObject({
      data: [
        { name: 'app', keys: 50, types: { string: 50 } },
        { name: 'other', keys: 1, types: {} },
      ],
      db_size: null,
    })
    expect((await ask('memory')).body).toMatchObject({ sampled: 50, refused: 1, db_size: null, complete: true })
    const { status, body: databases } = await ask('databases')
    expect([status, databases.data, databases.usable]).toEqual([
      200,
      [{ db: 0, keys: null, expires: null, avg_ttl_ms: null }],
      1,
    ])
  })
})
