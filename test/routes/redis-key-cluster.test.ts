import { expect, test } from 'bun:test'
import { describeWith } from '#test/support/describe-with.ts'
import { clusterApp } from '#test/support/redis-app.ts'

describeWith('redis', 'keys of a cluster', () => {
  const { app, path } = clusterApp()

  const send = (method: string, name: string, body?: Readonly<Record<string, unknown>>) =>
    app.request(method, path(name), body === undefined ? {} : { body })
  // Of every node some.
  const keys = Array.from({ length: 24 }, (_, n) => `key ${n}`)
  const all = <T>(work: (key: string) => Promise<T>) => Promise.all(keys.map(work))

  test('200 every type is put, read, changed and deleted, whichever node has the key', async () => {
    const values = {
      string: 'text',
      hash: [{ field: 'a', value: '1' }],
      list: ['a', 'b'],
      set: ['a'],
      zset: [{ member: 'a', score: '1' }],
      stream: [{ id: '1-1', fields: [{ field: 'a', value: '1' }] }],
    }
    for (const [type, value] of Object.entries(values)) {
      for (const more of [{}, { keepTtl: true }]) {
        const put = await all((key) => send('PUT', 'key', { key, type, value, ...more }))
        expect(put.map(({ body }) => body)).toEqual(keys.map((key) => ({ key, type, written: true })))
      }
      const found = await all((key) => send('GET', `key?key=${key}`))
      expect(found.map(({ body }) => body)).toMatchObject(
        keys.map((key) => ({ key, type, value, size_bytes: expect.any(Number), encoding: expect.any(String) })),
      )
    }
    const changed = await all((key) => send('PATCH', 'key', { key, ttlMs: 60_000 }))
    expect(changed.map(({ body }) => body.changed)).toEqual(keys.map(() => true))
    const deleted = await all((key) => send('DELETE', `key?key=${key}`))
    expect(deleted.map(({ status }) => status)).toEqual(keys.map(() => 204))
  })

  test('200 strings of all nodes are changed in one step each, and read together', async () => {
    const set = await all((key) => send('POST', 'compare-and-set', { key, ifEqual: null, value: '1' }))
    expect(set.map(({ body }) => body.written)).toEqual(keys.map(() => true))
    const again = await all((key) => send('POST', 'compare-and-set', { key, ifEqual: '2', value: '3' }))
    expect(again.map(({ body }) => body.written)).toEqual(keys.map(() => false))
    await all((key) => send('POST', 'increment', { key, by: 41 }))
    const { body } = await send('POST', 'mget', { keys: [...keys, 'absent'] })
    expect(body.data.map(({ value }: { value: unknown }) => value)).toEqual([...keys.map(() => '42'), null])
    const taken = await all((key) => send('POST', 'get-delete', { key }))
    expect(taken.map((answer) => answer.body.value)).toEqual(keys.map(() => '42'))
  })

  test('200 another name in the same slot, 400 DB_UNSUPPORTED one in another', async () => {
    await send('PUT', 'key', { key: '{a}:1', type: 'list', value: ['x'] })
    expect((await send('PATCH', 'key', { key: '{a}:1', rename: { to: '{a}:2' } })).body.changed).toBe(true)
    for (const change of [{ rename: { to: '{b}:2' } }, { copy: { to: '{b}:2' } }]) {
      const { status, body } = await send('PATCH', 'key', { key: '{a}:2', ...change })
      expect([status, body.error.code]).toEqual([400, 'DB_UNSUPPORTED'])
    }
    expect((await send('GET', 'key?key={a}:2')).body.value).toEqual(['x'])
  })
})
