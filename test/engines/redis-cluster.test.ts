import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { callWithin } from '#src/engines/engine.ts'
import { planOf } from '#src/engines/redis/topology/cluster-plan.ts'
import { type Primary, readSlotMap, slotOf, slotOfKey } from '#src/engines/redis/topology/cluster-slots.ts'
import { redirectedPlace } from '#src/engines/redis/topology/places.ts'
import { redis } from '#src/engines/redis/engine.ts'
import type { Commands } from '#src/engines/redis/commands.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { testPassword } from '#test/support/credentials.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { type RedisCluster, type RedisNode, startCluster, until } from '#test/support/redis-cluster.ts'

const at = (port: number) => ({ host: '127.0.0.1', port })
const primaries = ['0a', '7f', 'ff'].map((id, index) => ({ id: id.repeat(4), place: at(7000 + index) }))
const page = (next: string, ...keys: string[]) => [Buffer.from(next), keys.map((key) => Buffer.from(key))]

describe('a walk over a cluster', () => {
  const step = (cursor: string, among: readonly Primary[], reply: ReturnType<typeof page>) => {
    const { tasks, merge } = planOf(['scan', cursor, 'MATCH', '*'], () => among)
    const [next] = merge([reply]) as [Buffer]
    return [tasks.map(({ command, place }) => `${place?.port} ${command.join(' ')}`), next.toString()]
  }
  const [a, b, c] = primaries as [Primary, Primary, Primary]

  test('goes from node to node in the order of their ids, and ends with 0 alone', () => {
    expect([
      step('0', primaries, page('12')),
      step('12@0a0a0a0a', primaries, page('0')),
      step('0@0a0a0a0a', primaries, page('0')),
      step('0@0a0a0a0a7f7f7f7f', primaries, page('34')),
      step('34@0a0a0a0a7f7f7f7fffffffff', primaries, page('0')),
    ]).toEqual([
      [['7000 scan 0 MATCH *'], '12@0a0a0a0a'],
      [['7000 scan 12 MATCH *'], '0@0a0a0a0a'],
      [['7001 scan 0 MATCH *'], '0@0a0a0a0a7f7f7f7f'],
      [['7002 scan 0 MATCH *'], '34@0a0a0a0a7f7f7f7fffffffff'],
      [['7002 scan 34 MATCH *'], '0'],
    ])
  })

  test('whoever takes over a node is walked from its beginning, and a node that is gone is none to wait for', () => {
    const heir: Primary = { id: '05050505', place: at(7009) }
    expect(step('12@0a0a0a0a', [heir, b, c], page('0'))).toEqual([['7009 scan 0 MATCH *'], '0@0a0a0a0a05050505'])
    expect(step('12@0a0a0a0a7f7f7f7f', [a, b], page('0'))).toEqual([['7001 scan 12 MATCH *'], '0'])
    expect(planOf(['scan', '0@0a0a0a0a7f7f7f7f'], () => [a, b])).toMatchObject({ tasks: [] })
  })

  test('400 a cursor of another kind', () => {
    for (const cursor of ['12', '', '1@', '1@0a', 'x@0a0a0a0a', `${'9'.repeat(21)}@0a0a0a0a`])
      expect(() => planOf(['scan', cursor], () => primaries)).toThrow('The cursor of SCAN is none of this cluster.')
  })
})

describe('what nodes announce', () => {
  const range = (from: string, to: string, host: string | null, port: string, id = 'a'.repeat(40)) => [
    from,
    to,
    [host === null ? null : Buffer.from(host), port, Buffer.from(id), []],
  ]

  test('is read as places that still have to pass the dial policy; a node without a host is where it was asked', () => {
    const map = readSlotMap(
      [range('0', '1', '10.0.0.9', '7001'), range('2', '3', null, '7002', 'b'.repeat(40))] as never,
      at(7000),
    )
    expect([map.primaries.length, ...map.owners.slice(0, 5)]).toEqual([
      2,
      ...[1, 1].map(() => ({ host: '10.0.0.9', port: 7001 })),
      at(7002),
      at(7002),
      undefined,
    ])
    const moved = ['10.0.0.9:1', ':7', '::1:7', '[::1]:7', 'no', 'a b:1', '10.0.0.9:0', '10.0.0.9:70000', '/tmp/s:1']
    expect(moved.map((address) => redirectedPlace(address, at(7000)))).toEqual([
      { host: '10.0.0.9', port: 1 },
      at(7),
      { host: '::1', port: 7 },
      { host: '::1', port: 7 },
      ...[1, 2, 3, 4, 5].map(() => undefined),
    ])
  })

  test('is refused where it is no map, and where it is more than 80 primaries', () => {
    const many = Array.from({ length: 81 }, (_, index) =>
      range(String(index), String(index), '10.0.0.9', String(index + 1)),
    )
    expect(() => readSlotMap(many as never, at(7000))).toThrow('more than 80 primaries')
    for (const reply of ['OK', null, Buffer.from('x')])
      expect(() => readSlotMap(reply, at(7000))).toThrow('The server answers as no Redis does.')
    const odd = [
      range('-1', '5', '10.0.0.9', '1'),
      range('0', '16384', '10.0.0.9', '1'),
      range('0', '1', 'a/b', '1'),
      'x',
      [],
      null,
    ]
    expect(readSlotMap(odd as never, at(7000)).primaries).toEqual([])
  })
})

test.each([
  [['get', 'k'], 'k'],
  [['object', 'encoding', 'k'], 'k'],
  [['memory', 'usage', 'k', 'SAMPLES', '5'], 'k'],
  [['xread', 'COUNT', '1', 'STREAMS', 'k', '0'], 'k'],
  [['xreadgroup', 'GROUP', 'g', 'c', 'STREAMS', 'k', '>'], 'k'],
  [['xgroup', 'CREATE', 'k', 'g', '$'], 'k'],
  [['xinfo', 'STREAM', 'k'], 'k'],
  [['eval', 'return 1', '1', 'k'], 'k'],
  [['json.get', 'k', '$'], 'k'],
  [['set', '{k}:and more', 'v'], 'k'],
  [['info'], null],
  [['publish', 'k', 'message'], null],
  [['eval', 'return 1', '0'], null],
] as [[string, ...string[]], string | null][])('%p goes by the key %p', (command, key) => {
  expect(slotOf(command)).toBe(key === null ? undefined : slotOfKey(key))
})

describeWith('redisOpen', 'a Redis Cluster', (store) => {
  let cluster: RedisCluster
  let app: TestApp
  let id: string
  beforeAll(async () => {
    cluster = await startCluster(3, 1)
    app = await createTestApp()
    id = (await app.register({ name: 'cluster', type: 'redis', connectionString: cluster.url, config: cluster.config }))
      .id
  })
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await cluster?.[Symbol.asyncDispose]()
  })

  const path = (rest: string, database = id) => `/api/platform/redis/${database}/${rest}`
  const set = async (key: string, value: string) =>
    (await app.request('POST', path('set'), { body: { key, value } })).status
  const get = async (key: string, database = id) => {
    const { status, body } = await app.request('GET', path(`get?key=${encodeURIComponent(key)}`, database))
    return status === 200 ? body.value : body.error.code
  }
  const walk = async (query: string, between?: (page: number) => Promise<void>): Promise<string[]> => {
    const found: string[] = []
    let cursor: string | null = null
    for (let page = 0; ; page++) {
      const { status, body } = await app.request(
        'GET',
        path(`keys?${query}${cursor === null ? '' : `&cursor=${cursor}`}`),
      )
      expect(status).toBe(200)
      found.push(...body.data.map(({ key }: { key: string }) => key))
      cursor = body.pagination.next_cursor
      if (cursor === null) return found
      await between?.(page)
    }
  }
  const alone = async <T>(
    work: (commands: Commands, call: ReturnType<typeof callWithin>) => Promise<T>,
  ): Promise<T> => {
    using call = callWithin(10_000)
    using session = await app.deps.open(redis, id, call)
    await using apart = await session.apart(undefined, call)
    return await work(apart.commands, call)
  }
  const names = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}:${index}`)

  test('says what it is, and the test of the connection passes every stage', async () => {
    const info = await app.request('GET', `/api/platform/databases/${id}/info`)
    expect(info.body).toMatchObject({
      product: 'Redis',
      role: 'master',
      engine: { mode: 'cluster', primaries: 3 },
      warnings: [],
    })
    const { body } = await app.request('POST', `/api/platform/databases/${id}/test`)
    expect([body.ok, body.stages.map(({ name }: { name: string }) => name)]).toEqual([
      true,
      ['policy', 'tcp', 'auth', 'database', 'rights'],
    ])
  })

  test('sets and gets keys of all slots, and walks all of them page by page', async () => {
    const keys = names('all', 300)
    expect(new Set(await Promise.all(keys.map((key) => set(key, `value of ${key}`))))).toEqual(new Set([200]))
    expect(await Promise.all(keys.map((key) => get(key)))).toEqual(keys.map((key) => `value of ${key}`))
    const sizes = await Promise.all(cluster.nodes.slice(0, 3).map(async (node) => Number(await node.run('dbsize'))))
    expect(sizes.every((size) => size > 50)).toBe(true)
    expect((await walk('pattern=all:*&count=20')).sort()).toEqual([...keys].sort())
    const { body } = await app.request('GET', path('keys?pattern=nothing:*'))
    expect(body.db_size).toBe(sizes.reduce((sum, size) => sum + size, 0))
  })

  test('a batch over several slots is answered in its own order, errors in their places', async () => {
    const keys = names('batch', 20)
    await alone(async (commands, call) => {
      await commands.send(call, 'writes', ...keys.map((key, index) => ['set', key, String(index)] as const))
      const outcomes = await commands.each(
        call,
        'reads',
        ...keys.map((key, index) => (index === 7 ? ['llen', key] : ['get', key]) as never),
      )
      const seen = outcomes.map((outcome) =>
        'reply' in outcome ? String(outcome.reply) : (outcome.error as never as { code: string }).code,
      )
      expect(seen).toEqual(keys.map((_, index) => (index === 7 ? 'DB_QUERY_ERROR' : String(index))))
      const [values, removed, left] = await commands.send(
        call,
        'writes',
        ['mget', ...keys],
        ['unlink', ...keys, 'batch:none'],
        ['exists', ...keys],
      )
      expect([(values as Buffer[]).map(String), removed, left]).toEqual([
        keys.map((_, index) => String(index)),
        '20',
        '0',
      ])
    })
  })

  test('keys are found while their slot moves and after it has moved', async () => {
    const keys = ['{moving}:gone', '{moving}:here', '{moving}:new'] as const
    const slot = slotOfKey('{moving}')
    expect([await set(keys[0], '0'), await set(keys[1], '1')]).toEqual([200, 200])
    const from = await cluster.ownerOf(slot)
    const to = cluster.nodes.slice(0, 3).find((node) => node !== from) as RedisNode
    const move = await cluster.beginMove(slot, to, ['{moving}:gone'])
    expect(await set(keys[2], '2')).toBe(200)
    expect(await Promise.all(keys.map((key) => get(key)))).toEqual(['0', '1', '2'])
    await move.finish()
    expect(await to.run('exists', ...keys)).toBe(3)
    expect(await Promise.all(keys.map((key) => get(key)))).toEqual(['0', '1', '2'])
    expect(await set('{moving}:after', '3')).toBe(200)
    expect(
      await alone((commands, call) =>
        commands.send(call, 'writes', ['multi'], ['incr', keys[1]], ['incr', keys[2]], ['exec']),
      ),
    ).toMatchObject({ 3: ['2', '3'] })
  })

  test('a transaction runs in one slot, sees what others change, and is refused over several', async () => {
    await set('{one}:a', '1')
    const transact = (commands: readonly (readonly string[])[], watch: readonly unknown[] = []) =>
      app.request('POST', path('transaction'), { body: { commands, watch } })
    const ran = await transact(
      [
        ['INCR', '{one}:a'],
        ['INCR', '{one}:b'],
      ],
      [{ key: '{one}:a', ifEqual: '1' }],
    )
    expect(ran.body).toEqual({ results: [{ result: 2 }, { result: 1 }] })
    const conflict = await transact([['INCR', '{one}:a']], [{ key: '{one}:a', ifEqual: '1' }])
    expect([conflict.status, conflict.body.error?.code]).toEqual([409, 'DB_CONFLICT'])
    const crossing = await transact([
      ['INCR', 'one'],
      ['INCR', 'two'],
    ])
    expect([crossing.status, crossing.body.error.code, crossing.body.error.details]).toEqual([
      400,
      'DB_UNSUPPORTED',
      { code: 'CROSSSLOT' },
    ])
    const elsewhere = await transact([['INCR', 'two']], [{ key: 'one', ifAbsent: true }])
    expect([elsewhere.status, elsewhere.body.error.code]).toEqual([400, 'DB_UNSUPPORTED'])
    expect(await Promise.all(['one', 'two', '{one}:a'].map((key) => get(key)))).toEqual(['NOT_FOUND', 'NOT_FOUND', '2'])
    await alone(async (commands, call) => {
      await commands.send(call, 'reads', ['watch', '{one}:a'])
      await set('{one}:a', 'changed')
      const [, , nothing] = await commands.send(call, 'writes', ['multi'], ['set', '{one}:a', 'lost'], ['exec'])
      expect(nothing).toBeNull()
    })
  })

  test('400 DB_UNSUPPORTED a command whose keys stand in several slots', async () => {
    await set('rename:from', '1')
    const { status, body } = await app.request('POST', path('command'), {
      body: { command: ['RENAME', 'rename:from', 'rename:to'] },
    })
    expect([status, body.error.code, body.error.details.code]).toEqual([400, 'DB_UNSUPPORTED', 'CROSSSLOT'])
  })

  test('400 another database than 0, in a request and in a connection string', async () => {
    const asked = await app.request('GET', path('keys?db=1'))
    expect([asked.status, asked.body.error.code, asked.body.error.details[0].field]).toEqual([
      400,
      'VALIDATION_FAILED',
      'db',
    ])
    const registered = await app.request('POST', '/api/platform/databases', {
      body: {
        projectRef: 'default',
        name: 'db-1',
        type: 'redis',
        connectionString: cluster.url.replace(/0$/, '1'),
        config: cluster.config,
      },
    })
    expect([registered.status, registered.body.error.code]).toEqual([400, 'VALIDATION_FAILED'])
  })

  test('400 DB_UNSUPPORTED where the cluster is registered as a single server, 400 a single server as a cluster', async () => {
    const single = await app.register({ name: 'as-single', type: 'redis', connectionString: cluster.url })
    const codes = await Promise.all(['all:0', 'all:1', 'all:2', 'all:3'].map((key) => get(key, single.id)))
    expect(codes).toContain('DB_UNSUPPORTED')
    const { body } = await app.request('POST', '/api/platform/databases/test', {
      body: { type: 'redis', connectionString: store.url, config: { topology: 'cluster' } },
    })
    expect(body).toMatchObject({ ok: false, error: { code: 'DB_CONNECTION_FAILED', details: { stage: 'database' } } })
  })

  test('a first node that is in the cluster no more is passed over', async () => {
    const outsider = await cluster.start(['cluster-enabled yes', 'cluster-port %bus%'])
    const row = await app.register({
      name: 'outsider-first',
      type: 'redis',
      connectionString: cluster.url.replace(/:\d+\/0$/, `:${outsider.port}/0`),
      config: cluster.config,
    })
    const keys = names('all', 30)
    expect(await Promise.all(keys.map((key) => get(key, row.id)))).toEqual(keys.map((key) => `value of ${key}`))
    outsider.kill()
  })

  test('a node that is taken out of the cluster is passed over in a running session', async () => {
    await using own = await startCluster(2, 0)
    const [gone, left] = own.nodes as [RedisNode, RedisNode]
    const { url: connectionString, config } = own
    const row = await app.register({ name: 'shrinking', type: 'redis', connectionString, config })
    const asked = async () => {
      const { body } = await app.request('GET', path('clients', row.id))
      return new Set(body.data?.map(({ node }: { node: string }) => node))
    }
    const nameOf = ({ port }: RedisNode) => `127.0.0.1:${port}`
    expect(await asked()).toEqual(new Set([nameOf(gone), nameOf(left)]))
    const id = await own.idOf(gone)
    await gone.run('cluster', 'reset', 'hard')
    await left.run('cluster', 'forget', id)
    await left.run('cluster', 'addslotsrange', 0, 8_191)
    await until(async () => (await asked()).size === 1)
    expect(await asked()).toEqual(new Set([nameOf(left)]))
    const keys = names('left', 20)
    for (const key of keys) await app.request('POST', path('set', row.id), { body: { key, value: key } })
    expect(await Promise.all(keys.map((key) => get(key, row.id)))).toEqual(keys)
  })

  test('400 TARGET_NOT_ALLOWED for keys of a node that the dial policy denies, 200 for the others', async () => {
    const denied = cluster.nodes[1] as RedisNode
    await using strict = await createTestApp({ env: { EGRESS_DENY: `127.0.0.1:${denied.port}` } })
    const row = await strict.register({
      name: 'strict',
      type: 'redis',
      connectionString: cluster.url,
      config: { topology: 'cluster' },
    })
    const keys = names('all', 30)
    const owners = await Promise.all(keys.map((key) => cluster.ownerOf(slotOfKey(key))))
    const answers = await Promise.all(keys.map((key) => strict.request('GET', path(`get?key=${key}`, row.id))))
    expect(answers.map(({ status, body }) => (status === 200 ? body.value : body.error.code))).toEqual(
      keys.map((key, index) => (owners[index] === denied ? 'TARGET_NOT_ALLOWED' : `value of ${key}`)),
    )
    const info = await strict.request('GET', `/api/platform/databases/${row.id}/info`)
    expect(info.body.warnings.join()).toContain('dial policy does not allow 1 of the 3')
  })

  test('an ACL user without the rights to CLUSTER and COMMAND reads and writes keys, is told why it can not walk them, and leaves no connection behind', async () => {
    const password = testPassword()
    await Promise.all(
      cluster.nodes.map((node) =>
        node.run('acl', 'setuser', 'app', 'on', `>${password}`, '~app:*', '+get', '+set', '+getrange', '+pttl'),
      ),
    )
    const row = await app.register({
      name: 'limited',
      type: 'redis',
      connectionString: cluster.url.replace(/:[^:@/]*@/, `app:${password}@`),
      config: cluster.config,
    })
    const keys = names('app', 12)
    for (const key of keys) await app.request('POST', path('set', row.id), { body: { key, value: key } })
    expect(await Promise.all(keys.map((key) => get(key, row.id)))).toEqual(keys)
    const walked = await app.request('GET', path('keys?pattern=app:*', row.id))
    expect([walked.status, walked.body.error.code]).toEqual([400, 'DB_UNSUPPORTED'])
    const connected = async () => {
      const lists = await Promise.all(cluster.nodes.map((node) => node.run('client', 'list')))
      return lists.join('').split('user=app ').length - 1
    }
    expect(await connected()).toBeGreaterThanOrEqual(3)
    expect((await app.request('DELETE', `/api/platform/databases/${row.id}`)).status).toBe(204)
    await until(async () => (await connected()) === 0)
  })

  test('a node dies: other slots go on, its own are back within 5 s of the promotion, and a walk misses no key', async () => {
    const dying = cluster.nodes[0] as RedisNode
    const keys = names('all', 300)
    const owners = await Promise.all(keys.map((key) => cluster.ownerOf(slotOfKey(key))))
    const ofDying = keys.filter((_, index) => owners[index] === dying)
    const ofOthers = keys.filter((_, index) => owners[index] !== dying)
    await dying.run('wait', 1, 1_000)
    const walked = await walk('pattern=all:*&count=20', async (page) => {
      if (page > 0) return
      dying.kill()
      await until(async () => (await get(ofDying[0] as string)) === 'DB_UNAVAILABLE')
      expect(await Promise.all(ofOthers.map((key) => get(key)))).toEqual(ofOthers.map((key) => `value of ${key}`))
      await until(async () => (await cluster.ownerOf(slotOfKey(ofDying[0] as string))) !== dying)
      const promoted = performance.now()
      await until(async () => (await get(ofDying[0] as string)).startsWith('value'))
      expect(performance.now() - promoted).toBeLessThan(5_000)
      expect(await Promise.all(ofDying.map((key) => get(key)))).toEqual(ofDying.map((key) => `value of ${key}`))
      expect(await set(ofDying[0] as string, `value of ${ofDying[0]}`)).toBe(200)
    })
    expect([...new Set(walked)].sort()).toEqual([...keys].sort())
  })

  test('503 DB_CONNECTION_FAILED when no node answers', async () => {
    for (const node of cluster.nodes.slice(1)) node.kill()
    await until(async () => (await get('all:0')) === 'DB_CONNECTION_FAILED')
  })
})
