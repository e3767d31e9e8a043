import { afterAll, beforeAll, expect, test } from 'bun:test'
import { callWithin } from '#src/engines/engine.ts'
import type { Commands } from '#src/engines/redis/commands.ts'
import { slotOfKey } from '#src/engines/redis/topology/cluster-slots.ts'
import { monitorCommands } from '#src/engines/redis/watch/monitor.ts'
import { keyspaceEvents } from '#src/engines/redis/watch/pubsub-keyspace.ts'
import type { Apart } from '#src/engines/redis/watch/watch.ts'
import type { ServerReply } from '#src/engines/redis/watch/watch-takeover.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { testPassword } from '#test/support/credentials.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { errorOf, eventsOf, nextOf, type SentEvent } from '#test/support/event-stream.ts'
import { type RedisCluster, type RedisNode, startCluster, until } from '#test/support/redis-cluster.ts'

test('nothing comes before all primaries are listened to, whichever is quicker', async () => {
  const bytes = (text: string) => Buffer.from(text)
  const commands = {
    each: async () => [{ reply: [bytes('notify-keyspace-events'), bytes('KA')] }],
  } as unknown as Commands
  const of = (...given: readonly ServerReply[]) => {
    const watched = {
      database: 0,
      limits: { maxResponseBytes: 1_000 },
      servers: [
        { node: 'a:1', commands },
        { node: 'b:1', commands },
      ],
      replies: () => given,
    }
    return { everywhere: async () => watched } as unknown as Apart
  }
  const told = (node: string, key: string) => {
    const parts = ['pmessage', '__keyspace@0__:*', `__keyspace@0__:${key}`, 'set']
    return { node, reply: parts.map(bytes) }
  }
  const listens = (node: string) => ({ node, reply: [bytes('psubscribe'), bytes('__keyspace@0__:*'), '1'] })
  const line = (node: string, name: string) => ({ node, reply: bytes(`1.5 [0 127.0.0.1:5] "${name}"`) })
  const looks = (node: string) => ({ node, reply: bytes('OK') })
  using call = callWithin(1_000)
  const changes = of(listens('a:1'), told('a:1', 'early'), listens('b:1'), told('a:1', 'one'), told('b:1', 'two'))
  expect(await Array.fromAsync(keyspaceEvents(changes, { events: new Set() }, call))).toEqual([
    null,
    { key: bytes('one'), event: 'set' },
    { key: bytes('two'), event: 'set' },
  ])
  const ran = of(looks('a:1'), line('a:1', 'early'), looks('b:1'), line('b:1', 'ping'))
  expect(await Array.fromAsync(monitorCommands(ran, { seconds: 1, max: 5 }, call))).toEqual([
    null,
    { time: '1.5', database: 0, client: '127.0.0.1:5', command: [bytes('ping')], node: 'b:1' },
  ])
})

describeWith('redis', 'watching a cluster', () => {
  let cluster: RedisCluster
  let app: TestApp
  let id: string
  let primaries: readonly RedisNode[]
  let members: readonly RedisNode[]

  beforeAll(async () => {
    cluster = await startCluster(3, 1)
    primaries = cluster.nodes.slice(0, 3)
    members = cluster.nodes
    app = await createTestApp()
    const { url: connectionString, config } = cluster
    id = (await app.register({ name: 'watched', type: 'redis', connectionString, config })).id
    for (const node of cluster.nodes) await node.run('config', 'set', 'notify-keyspace-events', 'KEA')
  }, 60_000)
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await cluster?.[Symbol.asyncDispose]()
  })

  const path = (rest: string, database = id) => `/api/platform/redis/${database}/${rest}`
  const watch = (rest: string, database = id) => app.stream('GET', path(rest, database))
  const set = async (key: string) => {
    const { status } = await app.request('POST', path('set'), { body: { key, value: 'x' } })
    expect(status).toBe(200)
  }
  const nameOf = ({ host, port }: RedisNode) => `${host}:${port}`
  /** A key of the slots of each of these nodes. */
  const keysOf = async (nodes: readonly RedisNode[], prefix: string) => {
    const found = new Map<RedisNode, string>()
    for (let n = 0; found.size < nodes.length && n < 10_000; n++) {
      const owner = await cluster.ownerOf(slotOfKey(`${prefix}:${n}`))
      if (nodes.includes(owner) && !found.has(owner)) found.set(owner, `${prefix}:${n}`)
    }
    return nodes.map((node) => found.get(node) ?? 'none')
  }
  /** How many connections of streams there are on the nodes that live, by node. */
  const watching = async (nodes: readonly RedisNode[]) => {
    const lists = await Promise.all(nodes.map((node) => node.run('client', 'list')))
    return lists.map((list) => String(list).match(/ flags=\w*[OP]/g)?.length ?? 0)
  }
  const restOf = async (events: AsyncIterable<SentEvent>) => {
    const seen: SentEvent[] = []
    for await (const event of events) seen.push(event)
    return seen
  }
  const readyOf = async (rest: string, database = id) => {
    const events = eventsOf(await watch(rest, database))
    expect((await nextOf(events)).event).toBe('ready')
    return events
  }

  test('200 what happens to keys of every primary comes once, and no replica is listened to', async () => {
    const keys = await keysOf(primaries, 'event')
    for (const query of ['', '?pattern=event:*', '?events=set,del']) {
      const events = await readyOf(`keyspace-events${query}`)
      expect(await watching(cluster.nodes)).toEqual([1, 1, 1, 0])
      const seen: unknown[] = []
      for (const key of keys) await set(key)
      await app.request('POST', path('keys/delete'), { body: { keys: [...keys, 'event:end'] } })
      for await (const { data } of events) if (seen.push(`${data.event} ${data.key}`) === 2 * keys.length) break
      expect(seen.toSorted()).toEqual(keys.flatMap((key) => [`del ${key}`, `set ${key}`]).toSorted())
      await until(async () => (await watching(cluster.nodes)).every((count) => count === 0))
    }
  })

  test('400 DB_UNSUPPORTED names the one primary that does not publish, and leaves no connection behind', async () => {
    const [, off] = primaries as [RedisNode, RedisNode]
    for (const [flags, query, needed] of [
      ['', '', 'EA'],
      ['EA', '?pattern=a*', 'KA'],
      ['KE', '', 'EA'],
    ] as const) {
      await off.run('config', 'set', 'notify-keyspace-events', flags)
      const response = await watch(`keyspace-events${query}`)
      const error = await errorOf(response)
      expect([response.status, error.code, error.details]).toEqual([
        400,
        'DB_UNSUPPORTED',
        { setting: 'notify-keyspace-events', needed, node: nameOf(off) },
      ])
      expect(error.message).toContain(nameOf(off))
    }
    await until(async () => {
      const lists = await Promise.all(primaries.map((node) => node.run('client', 'list')))
      return !lists.join('').includes(' cmd=config|get ')
    })
    await off.run('config', 'set', 'notify-keyspace-events', 'KA')
    const [key = ''] = await keysOf([off], 'other')
    const events = await readyOf('keyspace-events')
    await set(key)
    expect((await nextOf(events)).data).toEqual({ key, event: 'set' })
    await events.return(undefined)
    await off.run('config', 'set', 'notify-keyspace-events', 'KEA')
  })

  test('200 every command that a primary runs names the primary', async () => {
    const keys = await keysOf(primaries, 'monitored')
    const events = await readyOf('monitor')
    expect(await watching(cluster.nodes)).toEqual([1, 1, 1, 0])
    for (const key of keys) await set(key)
    const seen = new Map<string, string>()
    for await (const { data } of events) {
      const [name, key] = data.command
      if (name.toLowerCase() === 'set') seen.set(key, data.node)
      if (seen.size === keys.length) break
    }
    expect([...seen].toSorted()).toEqual(
      keys.map((key, n) => [key, nameOf(primaries[n] as RedisNode)] as [string, string]).toSorted(),
    )
    await until(async () => (await watching(cluster.nodes)).every((count) => count === 0))
  })

  test('200 a look ends by itself on all primaries: after max commands together, after the seconds', async () => {
    const events = await readyOf('monitor?max=3')
    await Promise.all(primaries.map((node) => node.run('ping')))
    expect((await restOf(events)).map(({ event }) => event)).toEqual(['command', 'command', 'command', 'end'])
    expect((await restOf(await readyOf('monitor?seconds=1'))).at(-1)?.data).toEqual({ reason: 'seconds' })
    await until(async () => (await watching(cluster.nodes)).every((count) => count === 0))
  })

  test('a reader who leaves is gone from every primary within a second', async () => {
    const open = [await readyOf('keyspace-events'), await readyOf('monitor')]
    expect(await watching(cluster.nodes)).toEqual([2, 2, 2, 0])
    const started = performance.now()
    await Promise.all(open.map((events) => events.return(undefined)))
    await until(async () => (await watching(cluster.nodes)).every((count) => count === 0))
    expect(performance.now() - started).toBeLessThan(1_000)
    await until(async () => app.deps.connections.metrics().leased === 0)
  })

  test('a reader who is too slow for all of them together is told that events were lost, after those that were not', async () => {
    const tags = await keysOf(primaries, 'flood')
    const events = await readyOf('keyspace-events?pattern={flood:*&events=set')
    const script = "for i = 1, 2000 do redis.call('SET', KEYS[1] .. i, '') end"
    await Promise.all(primaries.map((node, n) => node.run('eval', script, 1, `{${tags[n]}}:`)))
    const seen = await restOf(events)
    expect(seen.length).toBeLessThan(6_000)
    expect(seen.at(-1)?.data.error).toMatchObject({ code: 'OVERLOADED', details: { reason: 'slow_reader' } })
    const keys: readonly string[] = seen.slice(0, -1).map(({ data }) => data.key)
    const came = tags.map((tag) => keys.filter((key) => key.startsWith(`{${tag}}`)))
    expect(came).toEqual(tags.map((tag, n) => (came[n] ?? []).map((_, index) => `{${tag}}:${index + 1}`)))
    expect(came.flat().length).toBe(keys.length)
    await until(async () => (await watching(cluster.nodes)).every((count) => count === 0))
  })

  test('400 DB_UNSUPPORTED for a user who may not ask for the primaries, 400 TARGET_NOT_ALLOWED where the dial policy denies one', async () => {
    const password = testPassword()
    const rights = ['+@all', '-cluster', '~*', '&*']
    await Promise.all(cluster.nodes.map((node) => node.run('acl', 'setuser', 'blind', 'on', `>${password}`, ...rights)))
    const { config } = cluster
    const connectionString = cluster.url.replace(/:[^:@/]*@/, `blind:${password}@`)
    const blind = (await app.register({ name: 'blind', type: 'redis', connectionString, config })).id
    await using strict = await createTestApp({ env: { EGRESS_DENY: nameOf(primaries[1] as RedisNode) } })
    const denied = await strict.register({ name: 'strict', type: 'redis', connectionString: cluster.url, config })
    for (const route of ['keyspace-events', 'monitor']) {
      const refused = await watch(route, blind)
      expect([refused.status, await errorOf(refused)]).toMatchObject([
        400,
        { code: 'DB_UNSUPPORTED', details: { code: 'NOPERM' } },
      ])
      const unseen = await strict.stream('GET', path(route, denied.id))
      expect([unseen.status, await errorOf(unseen)]).toMatchObject([
        400,
        { code: 'TARGET_NOT_ALLOWED', details: { node: nameOf(primaries[1] as RedisNode) } },
      ])
    }
    const { body } = await strict.request('GET', path('clients', denied.id))
    expect(new Set(body.data.map(({ node }: { node: string }) => node)).size).toBe(2)
    expect(body.unreachable).toEqual([{ node: nameOf(primaries[1] as RedisNode), code: 'TARGET_NOT_ALLOWED' }])
  })

  test('200 slow log, connections and latency of every primary, each naming it, and the slow logs of all are emptied', async () => {
    const [keys, nodes] = [await keysOf(primaries, 'slow'), primaries.map(nameOf)]
    const onAll = (...command: string[]) => Promise.all(primaries.map((node) => node.run(...command)))
    await onAll('slowlog', 'reset')
    await onAll('config', 'set', 'slowlog-log-slower-than', '0')
    for (const key of keys) await set(key)
    await onAll('config', 'set', 'slowlog-log-slower-than', '-1')
    const get = async (rest: string) => (await app.request('GET', path(rest))).body
    const slow = await get('slowlog?count=1000')
    const sets = slow.data.filter(({ command: [name] }: { command: string[] }) => name?.toLowerCase() === 'set')
    const shown = sets.map(({ command, node }: { command: string[]; node: string }) => [command[1], node])
    expect(shown.toSorted()).toEqual(keys.map((key, n) => [key, nodes[n]]).toSorted())
    const times = slow.data.map(({ timestamp }: { timestamp: number }) => timestamp)
    expect(times).toEqual(times.toSorted((one: number, other: number) => other - one))
    expect([slow.kept, (await get('slowlog?count=2')).data.length]).toEqual([slow.data.length, 2])
    expect((await app.request('POST', path('slowlog/reset'))).body).toEqual({ reset: true })
    expect(await onAll('slowlog', 'len')).toEqual([0, 0, 0])

    const { data, unreachable } = await get('clients')
    expect(unreachable).toBeUndefined()
    expect(new Set(data.map(({ node }: { node: string }) => node))).toEqual(new Set(nodes))
    expect(data.every(({ laddr, node }: { laddr: string; node: string }) => laddr === node)).toBe(true)

    await onAll('config', 'set', 'latency-monitor-threshold', '1')
    const busy = 'local n = 0 for i = 1, 1000000 do n = n + i end return n'
    await Promise.all([0, 2].map((n) => primaries[n]?.run('eval', busy, 0)))
    await onAll('config', 'set', 'latency-monitor-threshold', '0')
    const latency = await get('latency')
    const slowNodes = latency.events
      .filter(({ event }: { event: string }) => event === 'command')
      .map(({ node }: { node: string }) => node)
    expect(slowNodes.toSorted()).toEqual([nodes[0], nodes[2]].toSorted())
    expect(nodes.every((node) => latency.doctor.includes(`${node}\n`))).toBe(true)
    await onAll('latency', 'reset')
  })

  test('200 views over connections that are kept: asked 20 times at once, none is opened beyond those of the pool', async () => {
    await using narrow = await createTestApp({ env: { REDIS_MAX_CONNECTIONS: '2' } })
    const { url: connectionString, config } = cluster
    const row = await narrow.register({ name: 'narrow', type: 'redis', connectionString, config })
    const opened = async (node: RedisNode) =>
      Number(/total_connections_received:(\d+)/.exec(String(await node.run('info', 'stats')))?.[1])
    const before = await Promise.all(primaries.map(opened))
    const answers = await Promise.all(Array.from({ length: 20 }, () => narrow.request('GET', path('slowlog', row.id))))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    // One that all callers share, two of the pool, and the one that asks.
    const after = await Promise.all(primaries.map(opened))
    expect(after.map((count, n) => count - (before[n] ?? 0) <= 4)).toEqual([true, true, true])
  })

  test('200 info and config name the node that speaks, and a read-only database can not empty the slow logs', async () => {
    const info = await app.request('GET', path('info?section=server'))
    const settings = await app.request('GET', path('config?pattern=port'))
    expect([info.status, settings.status]).toEqual([200, 200])
    expect(primaries.map(nameOf)).toContain(info.body.node)
    expect(info.body.node).toEndWith(`:${info.body.parsed.server.tcp_port}`)
    expect(settings.body.node).toEndWith(`:${settings.body.config.port}`)
    const { url: connectionString } = cluster
    const config = { ...cluster.config, readOnly: true }
    const row = await app.register({ name: 'frozen', type: 'redis', connectionString, config })
    const refused = await app.request('POST', path('slowlog/reset', row.id))
    expect([refused.status, refused.body.error.code]).toEqual([403, 'DB_READ_ONLY'])
  })

  test('a primary that is added ends every stream with an error within 8 s, and is followed when they begin again', async () => {
    const streams = [await readyOf('keyspace-events'), await readyOf('monitor?seconds=30&max=10000')]
    const added = await cluster.start([
      'cluster-enabled yes',
      'cluster-port %bus%',
      'cluster-node-timeout 700',
      'cluster-require-full-coverage no',
      'notify-keyspace-events KEA',
    ])
    members = [...members, added]
    const [seed] = primaries as [RedisNode]
    const slot = slotOfKey('{added}')
    await seed.run('cluster', 'meet', added.host, added.port, added.busPort)
    await until(async () => String(await added.run('cluster', 'info')).includes('cluster_state:ok'))
    const addedId = await cluster.idOf(added)
    const owner = await cluster.ownerOf(slot)
    for (const node of [added, owner]) await node.run('cluster', 'setslot', slot, 'node', addedId)
    const started = performance.now()
    const ended = await Promise.all(streams.map(restOf))
    expect(performance.now() - started).toBeLessThan(8_000)
    for (const seen of ended)
      expect(seen.at(-1)).toMatchObject({
        event: 'error',
        data: { error: { code: 'DB_UNAVAILABLE', retryable: true, details: { reason: 'primaries_changed' } } },
      })
    const events = await readyOf('keyspace-events')
    await set('{added}')
    expect((await nextOf(events)).data).toEqual({ key: '{added}', event: 'set' })
    expect(await watching(members)).toEqual([1, 1, 1, 0, 1])
    await events.return(undefined)
    await until(async () => (await watching(members)).every((count) => count === 0))
  })

  test('a failover ends every stream with an error within 8 s, and the new primary is followed when they begin again', async () => {
    const [old] = primaries as [RedisNode]
    const replica = cluster.nodes[3] as RedisNode
    const [key = ''] = await keysOf([old], 'failover')
    const streams = [await readyOf('keyspace-events'), await readyOf('monitor?seconds=30&max=10000')]
    await replica.run('cluster', 'failover')
    await until(async () => (await cluster.ownerOf(slotOfKey(key))) === replica)
    const started = performance.now()
    const ended = await Promise.all(streams.map(restOf))
    expect(performance.now() - started).toBeLessThan(8_000)
    for (const seen of ended)
      expect(seen.at(-1)?.data.error).toMatchObject({
        code: 'DB_UNAVAILABLE',
        details: { reason: 'primaries_changed' },
      })
    const events = await readyOf('keyspace-events')
    expect(await watching(members)).toEqual([0, 1, 1, 1, 1])
    await set(key)
    expect((await nextOf(events)).data).toEqual({ key, event: 'set' })
    await events.return(undefined)
  })

  test('a primary that answers no more ends every stream with an error that names it', async () => {
    const hanging = primaries[1] as RedisNode
    await using hasty = await createTestApp({ env: { REDIS_COMMAND_TIMEOUT_MS: '200' } })
    const { url: connectionString, config } = cluster
    const row = await hasty.register({ name: 'hasty', type: 'redis', connectionString, config })
    const events = eventsOf(await hasty.stream('GET', path('keyspace-events', row.id)))
    expect((await nextOf(events)).event).toBe('ready')
    const asked = () => hasty.request('GET', path('clients', row.id))
    expect((await asked()).body.unreachable).toBeUndefined()
    // What it was asked before, to end what was begun on its connection, is answered by then.
    await hanging.run('ping')
    process.kill(hanging.pid, 'SIGSTOP')
    try {
      const view = await asked()
      expect([view.status, view.body.unreachable]).toEqual([200, [{ node: nameOf(hanging), code: 'DB_UNAVAILABLE' }]])
      expect(await nextOf(events)).toMatchObject({
        event: 'error',
        data: { error: { code: 'DB_UNAVAILABLE', details: { reason: 'node_lost', node: nameOf(hanging) } } },
      })
    } finally {
      process.kill(hanging.pid, 'SIGCONT')
    }
    await until(async () => (await watching(members)).every((count) => count === 0))
    await until(async () =>
      (await Promise.all(primaries.map((node) => node.run('cluster', 'info')))).every((info) =>
        String(info).includes('cluster_slots_fail:0'),
      ),
    )
  })

  test('a primary that dies ends every stream with an error that names it, and closes the other connections', async () => {
    const dying = primaries[1] as RedisNode
    const { config } = cluster
    const connectionString = cluster.url.replace(/:\d+\/0$/, `:${dying.port}/0`)
    const first = (await app.register({ name: 'dying-first', type: 'redis', connectionString, config })).id
    const speaks = async () => (await app.request('GET', path('info', first))).body.node
    expect(await speaks()).toBe(nameOf(dying))
    const streams = [await readyOf('keyspace-events'), await readyOf('monitor?seconds=30&max=10000')]
    dying.kill()
    for (const seen of await Promise.all(streams.map(restOf)))
      expect(seen.at(-1)).toMatchObject({
        event: 'error',
        data: {
          error: { code: 'DB_UNAVAILABLE', retryable: true, details: { reason: 'node_lost', node: nameOf(dying) } },
        },
      })
    const others = members.filter((node) => node !== dying)
    await until(async () => (await watching(others)).every((count) => count === 0))
    for (const view of ['clients', 'slowlog', 'latency']) {
      const { status, body } = await app.request('GET', path(view))
      expect([status, body.unreachable]).toEqual([200, [{ node: nameOf(dying), code: 'DB_UNAVAILABLE' }]])
    }
    expect(others.map(nameOf)).toContain(await speaks())
    const reset = await app.request('POST', path('slowlog/reset'))
    expect([reset.status, reset.body.error.code]).toEqual([503, 'DB_UNAVAILABLE'])
    const again = await watch('keyspace-events')
    expect([again.status, await errorOf(again)]).toMatchObject([
      503,
      { code: 'DB_UNAVAILABLE', details: { node: nameOf(dying) } },
    ])
  })
})
