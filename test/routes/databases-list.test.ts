import { describe, expect, test } from 'bun:test'
import { describeRegistries, inRegistry, newestFirst, newName, path } from '#test/registry/registries.ts'
import { canary } from '#test/support/stores.ts'

interface Row {
  readonly id: string
  readonly name: string
  readonly created_at: string
}

describeRegistries('GET /databases', (app) => {
  const newProject = async () => {
    const ref = newName('project')
    await app().request('POST', '/api/platform/projects', { body: { name: ref, ref, organizationSlug: 'default' } })
    return ref
  }
  const add = async (projectRef: string, name: string, more: object = {}): Promise<Row> => {
    const body = { projectRef, name, type: 'redis', connectionString: `redis://:${canary}@store.test`, ...more }
    const answer = await app().request('POST', `${path}?skipTest=true`, { body })
    expect(answer.status).toBe(201)
    return answer.body
  }
  const list = (query: Readonly<Record<string, string>>) =>
    app().request('GET', `${path}?${new URLSearchParams(query)}`)
  const names = async (query: Readonly<Record<string, string>>) =>
    (await list(query)).body.map(({ name }: Row) => name).sort()

  describe('filters', () => {
    test('200 projectRef, types, status and search pick their rows', async () => {
      const [ref, other] = [await newProject(), await newProject()]
      const cache = await add(ref, 'cache', { description: 'Sessions of the shop' })
      await add(ref, 'queue')
      await add(ref, 'main', { type: 'postgres', connectionString: `postgres://u:${canary}@store.test/db` })
      await add(other, 'cache')
      await inRegistry(app(), (sql) => sql`update platform.databases set status = 'error' where id = ${cache.id}`)
      expect({
        project: await names({ projectRef: ref }),
        otherProject: await names({ projectRef: other }),
        noProject: await names({ projectRef: 'nobody' }),
        redis: await names({ projectRef: ref, types: 'redis' }),
        both: await names({ projectRef: ref, types: 'redis,postgres' }),
        error: await names({ projectRef: ref, status: 'error' }),
        active: await names({ projectRef: ref, status: 'active' }),
        inactive: await names({ projectRef: ref, status: 'inactive' }),
        byName: await names({ projectRef: ref, search: 'UEU' }),
        byDescription: await names({ projectRef: ref, search: 'of the SHOP' }),
        all: await names({ projectRef: ref, types: 'redis', status: 'error', search: 'cach' }),
      }).toEqual({
        project: ['cache', 'main', 'queue'],
        otherProject: ['cache'],
        noProject: [],
        redis: ['cache', 'queue'],
        both: ['cache', 'main', 'queue'],
        error: ['cache'],
        active: ['main', 'queue'],
        inactive: [],
        byName: ['queue'],
        byDescription: ['cache'],
        all: ['cache'],
      })
    })

    test('200 % _ and \\ in search are letters', async () => {
      const ref = await newProject()
      for (const [index, description] of ['100% sure', '100 sure', 'a_b', 'axb', 'c\\d', 'cd'].entries())
        await add(ref, `row-${index}`, { description })
      expect({
        percent: await names({ projectRef: ref, search: '100%' }),
        underscore: await names({ projectRef: ref, search: 'a_b' }),
        backslash: await names({ projectRef: ref, search: 'c\\d' }),
        onlyPercent: await names({ projectRef: ref, search: '%' }),
      }).toEqual({ percent: ['row-0'], underscore: ['row-2'], backslash: ['row-4'], onlyPercent: ['row-0'] })
    })

    test('200 SQL in search, and in a name that is looked up, is only text', async () => {
      const ref = await newProject()
      await add(ref, 'kept')
      const injections = ["' or '1'='1", "'; drop table platform.databases; --", "%' or true --", '$1', '${sql}']
      for (const search of injections) expect(await names({ projectRef: ref, search })).toEqual([])
      for (const name of injections) {
        const answer = await app().request('GET', `${path}/by-name/${ref}/${encodeURIComponent(name)}`)
        expect(answer.status).toBe(400)
      }
      expect(await names({ projectRef: ref })).toEqual(['kept'])
    })

    test('200 a row is the same as GET of it, with nothing of the secret or of its columns', async () => {
      const ref = await newProject()
      const { id } = await add(ref, 'one')
      const [row] = (await list({ projectRef: ref })).body
      expect(row).toEqual((await app().request('GET', `${path}/${id}`)).body)
      expect(Object.keys(row)).not.toContain('masked_connection_string')
      expect(row.connection_string).toBe('redis://:****@store.test:6379/0')
    })
  })

  describe('pages', () => {
    const follow = async (query: Readonly<Record<string, string>>, onPage?: (page: number) => Promise<unknown>) => {
      const seen: string[] = []
      const sizes: number[] = []
      let next: string | undefined = `${path}?${new URLSearchParams(query)}`
      while (next !== undefined) {
        const { body, headers } = await app().request('GET', next)
        sizes.push(body.length)
        seen.push(...body.map(({ name }: Row) => name))
        next = /^<(.+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1]
        await onPage?.(sizes.length)
      }
      return { seen, sizes }
    }
    const fill = async (count: number) => {
      const ref = await newProject()
      const rows: Row[] = []
      for (let index = 0; index < count; index++) rows.push(await add(ref, `row-${index}`))
      return { ref, added: newestFirst(rows).map(({ name }) => name) }
    }

    test('200 every row once, newest first, over Link', async () => {
      const { ref, added } = await fill(25)
      expect(await follow({ projectRef: ref, limit: '10' })).toEqual({ seen: added, sizes: [10, 10, 5] })
      expect((await follow({ projectRef: ref, limit: '25' })).sizes).toEqual([25])
    })

    test('200 rows of one instant are neither lost nor repeated', async () => {
      const { ref, added } = await fill(7)
      await inRegistry(
        app(),
        (sql) => sql`
          update platform.databases d set created_at = '2026-01-02T03:04:05.678901Z'
          from platform.projects p where p.id = d.project_id and p.ref = ${ref}`,
      )
      const { seen } = await follow({ projectRef: ref, limit: '2' })
      expect(seen.toSorted()).toEqual(added.toSorted())
    })

    test('200 a list in the reading is not disturbed by rows added', async () => {
      const { ref, added } = await fill(9)
      const { seen } = await follow({ projectRef: ref, limit: '4' }, (page) => add(ref, `late-${page}`))
      expect(seen).toEqual(added)
    })

    test('400 a cursor that is changed, or of another list', async () => {
      const { ref } = await fill(3)
      const { headers } = await list({ projectRef: ref, limit: '1' })
      const link = /^<(.+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1] ?? ''
      const cursor = new URL(link, 'http://server').searchParams.get('cursor') ?? ''
      const other = { projectRef: await newProject(), limit: '1' }
      const bad = [
        { projectRef: ref, cursor: 'abc' },
        { projectRef: ref, cursor: `${cursor.slice(0, -1)}${cursor.endsWith('A') ? 'B' : 'A'}` },
        { projectRef: ref, cursor: `x${cursor}` },
        { ...other, cursor },
        { projectRef: ref, types: 'redis', cursor },
        { cursor },
      ]
      for (const query of bad) {
        const { status, body } = await list(query)
        expect({ status, details: body.error.details }).toEqual({
          status: 400,
          details: [{ field: 'cursor', rule: 'must be an unchanged next_cursor of this list' }],
        })
      }
      const projects = await app().request('GET', `/api/platform/projects?cursor=${encodeURIComponent(cursor)}`)
      expect(projects.status).toBe(400)
      expect((await list({ projectRef: ref, limit: '2', cursor })).body).toHaveLength(2)
    })
  })
})
