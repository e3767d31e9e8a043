import { expect, test } from 'bun:test'
import { describeWith } from '#test/support/describe-with.ts'
import { clusterApp } from '#test/support/redis-app.ts'

describeWith('redis', 'hashes and lists of a cluster', () => {
  const { app, path } = clusterApp()

  const get = (query: string) => app.request('GET', path(query))
  const post = (name: string, body: Readonly<Record<string, unknown>>) => app.request('POST', path(name), { body })
  // Of every node some.
  const keys = Array.from({ length: 12 }, (_, n) => `key:${n}`)
  const all = <T>(work: (key: string) => Promise<T>) => Promise.all(keys.map(work))

  test('200 a hash is edited as one step, and paged small and large, whichever node has it', async () => {
    const hash = (key: string) => `hash:${key}`
    const pairs = Array.from({ length: 400 }, (_, n) => ({ field: `field:${n}`, value: `${n}` }))
    await all((key) => post('hashes', { key: hash(key), set: pairs.slice(0, 3) }))
    const edited = await all((key) =>
      post('hashes', { key: hash(key), set: [{ field: 'new', value: '' }], remove: ['field:1'], mustExist: true }),
    )
    expect(edited.map(({ body }) => [body.created, body.removed, body.length])).toEqual(keys.map(() => [1, 1, 3]))
    const found = await all((key) => get(`hashes?key=${hash(key)}&count=2`))
    expect(found.map(({ body }) => body.data.map(({ field }: { field: string }) => field))).toEqual(
      keys.map(() => ['field:0', 'field:2']),
    )
    const [key = ''] = keys
    for (const part of ['a', 'b', 'c']) {
      const set = pairs.map(({ field, value }) => ({ field: `${part}:${field}`, value }))
      await post('hashes', { key: hash(key), set, onlyNew: true })
    }
    const fields = new Set<string>()
    let cursor = ''
    do {
      const { body } = await get(`hashes?key=${hash(key)}&count=100${cursor}`)
      for (const { field } of body.data) fields.add(field)
      cursor = body.pagination.has_more ? `&cursor=${body.pagination.next_cursor}` : ''
    } while (cursor !== '')
    expect(fields.size).toBe(1_203)
  })

  test('200 every write to a list, whichever node has it', async () => {
    const list = (key: string) => `list:${key}`
    const steps = [
      ['push', { values: ['a', 'b', 'c', 'd', 'e'], onlyNew: true }],
      ['set', { index: 0, value: 'A', expected: 'a' }],
      ['insert', { where: 'after', pivot: 'A', value: 'i' }],
      ['remove', { index: 2, expected: 'b' }],
      ['remove', { index: 1 }],
      ['remove', { value: 'e' }],
      ['trim', { start: 0, stop: 2 }],
      ['pop', { side: 'right' }],
    ] as const
    for (const [name, body] of steps) {
      const answers = await all((key) => post(`lists/${name}`, { key: list(key), ...body }))
      expect(answers.map(({ status }) => [name, status])).toEqual(keys.map(() => [name, 200]))
    }
    const found = await all((key) => get(`lists?key=${list(key)}`))
    expect(found.map(({ body }) => body.data.map(({ value }: { value: string }) => value).join())).toEqual(
      keys.map(() => 'A,c'),
    )
  })

  test('200 a move within a slot; 400 DB_UNSUPPORTED to another, and nothing moved', async () => {
    await post('lists/push', { key: '{a}:1', values: ['x', 'y'] })
    const moved = await post('lists/move', { source: '{a}:1', destination: '{a}:2' })
    expect(moved.body).toMatchObject({ value: 'x', source_length: 1, destination_length: 1 })
    const { status, body } = await post('lists/move', { source: '{a}:1', destination: '{b}:1' })
    expect([status, body.error.code]).toEqual([400, 'DB_UNSUPPORTED'])
    expect((await get('lists?key={a}:1')).body.length).toBe(1)
  })
})
