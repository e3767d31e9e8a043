import { describe, expect, test } from 'bun:test'
import { describeRegistries, newName, path } from '#test/registry/registries.ts'
import { canary, stores } from '#test/support/stores.ts'

const unknown = '00000000-0000-4000-8000-000000000000'

describeRegistries('/databases/{id}', (app) => {
  const add = async () => {
    const name = newName()
    const body = { projectRef: 'default', name, type: 'redis', connectionString: `redis://u:${canary}@store.test/2` }
    return (await app().request('POST', `${path}?skipTest=true`, { body })).body
  }
  const change = (id: string, description: string, ifMatch?: string) =>
    app().request('PATCH', `${path}/${id}`, {
      body: { description },
      ...(ifMatch === undefined ? {} : { headers: { 'if-match': ifMatch } }),
    })
  const remove = (id: string, ifMatch?: string) =>
    app().request('DELETE', `${path}/${id}`, ifMatch === undefined ? {} : { headers: { 'if-match': ifMatch } })

  test('200 GET and by-name answer the row as it was registered, with its ETag', async () => {
    const { warnings: _, ...row } = await add()
    const [one, byName] = await Promise.all([
      app().request('GET', `${path}/${row.id}`),
      app().request('GET', `${path}/by-name/default/${row.name}`),
    ])
    expect([one.status, one.body, one.headers.get('etag')]).toEqual([200, row, '"1"'])
    expect([byName.status, byName.body, byName.headers.get('etag')]).toEqual([200, row, '"1"'])
  })

  test('404 an unknown id, name and project on every route of one database', async () => {
    const { name } = await add()
    const calls: [string, string, unknown?][] = [
      ['GET', `/${unknown}`],
      ['PATCH', `/${unknown}`, { description: 'x' }],
      ['DELETE', `/${unknown}`],
      ['POST', `/${unknown}/test`],
      ['GET', `/${unknown}/info`],
      ['GET', '/by-name/default/nothing'],
      ['GET', `/by-name/nobody/${name}`],
    ]
    for (const [method, tail, body] of calls) {
      const answer = await app().request(method, `${path}${tail}`, { body })
      expect([tail, answer.status, answer.body.error.code]).toEqual([tail, 404, 'DB_NOT_FOUND'])
    }
  })

  describe('DELETE', () => {
    test('204, and 404 the second time', async () => {
      const { id, name } = await add()
      const first = await remove(id)
      expect([first.status, first.text]).toEqual([204, ''])
      expect([(await remove(id)).status, (await app().request('GET', `${path}/${id}`)).status]).toEqual([404, 404])
      expect((await app().request('GET', `${path}/by-name/default/${name}`)).status).toBe(404)
    })

    test('204 and 404 when two delete at once', async () => {
      const { id } = await add()
      const answers = await Promise.all([remove(id), remove(id)])
      expect(answers.map(({ status }) => status).sort()).toEqual([204, 404])
    })

    test.skipIf(stores().redis === null)('204 ends its sessions', async () => {
      const { id } = await app().register({ name: newName(), type: 'redis', connectionString: stores().redis?.url })
      const before = app().deps.connections.size
      await app().request('GET', `${path}/${id}/info`)
      expect(app().deps.connections.size).toBe(before + 1)
      await remove(id)
      expect(app().deps.connections.size).toBe(before)
    })
  })

  describe('If-Match', () => {
    test('200 and 204 a fresh tag and *', async () => {
      const { id } = await add()
      const fresh = await change(id, 'one', '"1"')
      expect([fresh.status, fresh.body.version, fresh.headers.get('etag')]).toEqual([200, 2, '"2"'])
      expect((await change(id, 'two', '*')).status).toBe(200)
      expect((await remove(id, '"3"')).status).toBe(204)
      expect((await remove((await add()).id, '*')).status).toBe(204)
    })

    test('200 the ETag stays when nothing changes', async () => {
      const { id } = await add()
      await change(id, 'same', '"1"')
      expect((await change(id, 'same', '"2"')).headers.get('etag')).toBe('"2"')
    })

    test('412 a stale, weak or foreign tag, and nothing is changed', async () => {
      const { id } = await add()
      await change(id, 'kept')
      for (const tag of ['"1"', '"3"', 'W/"2"', '"abc"', '""', '"99999999999999999999"']) {
        const answers = [await change(id, 'lost', tag), await remove(id, tag)]
        expect([tag, ...answers.map(({ status, body }) => [status, body.error.code])]).toEqual([
          tag,
          [412, 'PRECONDITION_FAILED'],
          [412, 'PRECONDITION_FAILED'],
        ])
      }
      expect((await app().request('GET', `${path}/${id}`)).body).toMatchObject({ description: 'kept', version: 2 })
    })

    test('400 text that is no tag', async () => {
      const { id } = await add()
      for (const tag of ['1', '"1', "'1'", '"1", 2', 'w/"1"', '"1 "', '"1", "2"']) {
        const answers = [await change(id, 'lost', tag), await remove(id, tag)]
        expect([tag, ...answers.map(({ status, body }) => [status, body.error.details[0].field])]).toEqual([
          tag,
          [400, 'If-Match'],
          [400, 'If-Match'],
        ])
      }
    })

    test('404 beats the tag for an unknown id', async () => {
      expect([(await change(unknown, 'x', '"1"')).status, (await remove(unknown, '"1"')).status]).toEqual([404, 404])
    })

    test('200 once, 412 for the rest, of concurrent changes with one tag', async () => {
      const { id } = await add()
      const answers = await Promise.all(Array.from({ length: 10 }, (_, index) => change(id, `change ${index}`, '"1"')))
      const winner = answers.findIndex(({ status }) => status === 200)
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(9).fill(412)])
      expect((await app().request('GET', `${path}/${id}`)).body).toMatchObject({
        version: 2,
        description: `change ${winner}`,
      })
    })
  })

  test('200 every one of 20 concurrent changes without If-Match', async () => {
    const { id } = await add()
    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => change(id, `change ${index}`)))
    expect(answers.filter(({ status }) => status !== 200).map(({ body }) => body)).toEqual([])
    const last = answers.find(({ body }) => body.version === 21)?.body
    expect((await app().request('GET', `${path}/${id}`)).body.description).toBe(last?.description)
  })

  test('200 concurrent changes of different fields all stay', async () => {
    const { id } = await add()
    const name = newName()
    const bodies = [{ name }, { description: 'two' }, { config: { databases: 8 } }]
    await Promise.all(bodies.map((body) => app().request('PATCH', `${path}/${id}`, { body })))
    expect((await app().request('GET', `${path}/${id}`)).body).toMatchObject({
      name,
      description: 'two',
      config: { databases: 8 },
    })
  })
})
