import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { errorOf, eventsOf, linesOf, nextOf } from '#test/support/event-stream.ts'
import { type RedisCluster, startCluster } from '#test/support/redis-cluster.ts'

describeWith('redis', 'streams of a cluster', (store) => {
  let cluster: RedisCluster
  let app: TestApp
  let path: string
  let other: string

  beforeAll(async () => {
    cluster = await startCluster(3, 0)
    app = await createTestApp()
    const { url, config } = cluster
    path = `/api/platform/redis/${(await app.register({ name: 'cluster', type: 'redis', connectionString: url, config })).id}`
    const connectionString = store.url.replace(/\/0$/, '/4')
    other = `/api/platform/redis/${(await app.register({ name: 'single', type: 'redis', connectionString })).id}`
  }, 60_000)
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await cluster?.[Symbol.asyncDispose]()
  })

  const send = async (text: string, to: string) => {
    const headers = { 'content-type': 'application/x-ndjson' }
    const response = await app.stream('POST', `${to}/import?onConflict=replace`, { body: text, headers })
    return (await Array.fromAsync(linesOf(response))).at(-1)
  }
  // Of every node some.
  const keys = Array.from({ length: 30 }, (_, n) => `key:${n}`)

  for (const form of ['typed', 'dump']) {
    test(`200 keys of all nodes are exported and imported, in the form ${form}`, async () => {
      const given = keys.flatMap((key, n) => [
        { key, type: 'string', expires_at_ms: Date.now() + 600_000, value: `value of ${n}` },
        { key: `list of ${key}`, type: 'list', expires_at_ms: null, elements: ['a', 'b'] },
        {
          key: `stream of ${key}`,
          type: 'stream',
          expires_at_ms: null,
          entries: [{ id: '1-1', fields: [['a', 'b']] }],
          last_id: '1-1',
          groups: [{ name: 'g', last_delivered_id: '0-0' }],
        },
      ])
      const text = given.map((line) => JSON.stringify(line)).join('\n')
      expect(await send(text, path)).toMatchObject({ written: given.length, keys: given.length, failed: 0 })
      const exported = await (await app.stream('GET', `${path}/export?form=${form}`)).text()
      expect(await send(exported, other)).toMatchObject({ written: given.length, keys: given.length, failed: 0 })
      const lines = await Array.fromAsync(linesOf(await app.stream('GET', `${other}/export`)))
      const order = (all: readonly { readonly key?: unknown }[]) =>
        all.toSorted((a, b) => (String(a.key) < String(b.key) ? -1 : 1))
      expect(order(lines.slice(0, -1))).toEqual(order(given) as never)
      expect(await send(exported, path)).toMatchObject({ written: given.length, failed: 0 })
    })
  }

  test('200 a message is heard whichever node takes it', async () => {
    const listening = await Promise.all(
      [1, 2, 3].map(() => app.stream('GET', `${path}/pubsub?channels=news,more&patterns=n*`)),
    )
    const events = listening.map(eventsOf)
    for (const each of events) expect((await nextOf(each)).event).toBe('ready')
    for (const node of cluster.nodes) await node.run('PUBLISH', 'more', `from ${node.port}`)
    for (const each of events)
      for (const { port } of cluster.nodes)
        expect((await nextOf(each)).data).toEqual({ channel: 'more', message: `from ${port}` })
    await Promise.all(events.map((each) => each.return(undefined)))
  })

  test('200 a stream is followed on the node that has it', async () => {
    for (const key of keys.slice(0, 6)) {
      const events = eventsOf(await app.stream('GET', `${path}/streams/tail?key=tail:${key}&from=0`))
      await nextOf(events)
      const line = { key: `tail:${key}`, type: 'stream', entries: [{ id: '7-1', fields: [['key', key]] }] }
      expect(await send(JSON.stringify(line), path)).toMatchObject({ failed: 0 })
      expect((await nextOf(events)).data).toEqual({ id: '7-1', fields: [{ field: 'key', value: key }] })
      await events.return(undefined)
    }
  })

  test('400 keyspace events, which each node publishes for itself', async () => {
    const response = await app.stream('GET', `${path}/keyspace-events`)
    expect([response.status, (await errorOf(response)).code]).toEqual([400, 'DB_UNSUPPORTED'])
  })
})
