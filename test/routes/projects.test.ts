import { describe, expect, test } from 'bun:test'
import { describeRegistries, inRegistry, newestFirst, newName, path as databases } from '#test/registry/registries.ts'
import { canary, stores } from '#test/support/stores.ts'

const path = '/api/platform/projects'
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/)
const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)

describeRegistries('projects', (app) => {
  const create = (body: unknown) => app().request('POST', path, { body })
  const add = async (more: object = {}) => {
    const ref = newName('project')
    const answer = await create({ name: 'Shop', ref, organizationSlug: 'default', ...more })
    expect(answer.status).toBe(201)
    return answer.body
  }
  const addDatabase = async (projectRef: string, connectionString = 'redis://store.test', query = '?skipTest=true') =>
    (
      await app().request('POST', `${databases}${query}`, {
        body: { projectRef, name: newName(), type: 'redis', connectionString },
      })
    ).body
  const exists = async (id: string) => (await app().request('GET', `${databases}/${id}`)).status === 200

  test('200 the first project is there from the start', async () => {
    expect((await app().request('GET', `${path}/default`)).body).toMatchObject({
      name: 'Default',
      ref: 'default',
      slug: 'default',
      organization_slug: 'default',
    })
  })

  test('201, and GET answers the same row', async () => {
    const ref = newName('Project_X')
    const { status, body } = await create({ name: 'Shop', ref, organizationSlug: 'default' })
    expect([status, body]).toEqual([
      201,
      {
        id: uuid,
        organization_id: uuid,
        organization_slug: 'default',
        name: 'Shop',
        slug: ref,
        ref,
        status: 'ACTIVE_HEALTHY',
        created_at: timestamp,
        updated_at: timestamp,
      },
    ])
    expect((await app().request('GET', `${path}/${ref}`)).body).toEqual(body)
  })

  test('404 an unknown organization; 409 a taken ref, also for many at once', async () => {
    const unknown = await create({ name: 'Shop', ref: newName(), organizationSlug: 'nobody' })
    expect([unknown.status, unknown.body.error.code]).toEqual([404, 'NOT_FOUND'])
    const ref = newName()
    const many = await Promise.all(
      Array.from({ length: 5 }, () => create({ name: 'Shop', ref, organizationSlug: 'default' })),
    )
    expect(many.map(({ status, body }) => `${status} ${body.error?.code}`).sort()).toEqual([
      '201 undefined',
      ...Array(4).fill('409 CONFLICT'),
    ])
  })

  test('200 PATCH renames; the ref stays', async () => {
    const project = await add()
    const { status, body } = await app().request('PATCH', `${path}/${project.ref}`, { body: { name: 'Shop EU' } })
    expect([status, body]).toEqual([200, { ...project, name: 'Shop EU', updated_at: timestamp }])
    expect(body.updated_at > project.updated_at).toBe(true)
  })

  test('404 an unknown ref on every route of one project', async () => {
    const answers = [
      await app().request('GET', `${path}/nobody`),
      await app().request('PATCH', `${path}/nobody`, { body: { name: 'x' } }),
      await app().request('DELETE', `${path}/nobody`),
      await app().request('DELETE', `${path}/nobody?cascade=true`),
    ]
    expect(answers.map(({ status, body }) => [status, body.error.code])).toEqual(Array(4).fill([404, 'NOT_FOUND']))
  })

  test('200 lists pages over Link, within an organization', async () => {
    const organizationSlug = newName('org')
    await app().request('POST', '/api/platform/organizations', { body: { name: 'Acme', slug: organizationSlug } })
    const added: { id: string; ref: string; created_at: string }[] = []
    for (let count = 0; count < 5; count++) added.push(await add({ organizationSlug }))
    const seen: string[] = []
    let next: string | undefined = `${path}?organizationSlug=${organizationSlug}&limit=2`
    while (next !== undefined) {
      const { body, headers } = await app().request('GET', next)
      seen.push(...body.map(({ ref }: { ref: string }) => ref))
      next = /^<(.+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1]
    }
    expect(seen).toEqual(newestFirst(added).map(({ ref }) => ref))
    expect((await app().request('GET', `${path}?organizationSlug=nobody`)).body).toEqual([])
  })

  describe('DELETE', () => {
    test('204 an empty project, and 404 the second time', async () => {
      const { ref } = await add()
      const answers = [
        await app().request('DELETE', `${path}/${ref}`),
        await app().request('DELETE', `${path}/${ref}`),
        await app().request('GET', `${path}/${ref}`),
      ]
      expect(answers.map(({ status }) => status)).toEqual([204, 404, 404])
    })

    test('409 with databases, and nothing is removed', async () => {
      const { ref } = await add()
      const { id } = await addDatabase(ref)
      for (const query of ['', '?cascade=false']) {
        const { status, body } = await app().request('DELETE', `${path}/${ref}${query}`)
        expect([status, body.error.code, body.error.details]).toEqual([409, 'CONFLICT', { databases: 1 }])
      }
      expect([await exists(id), (await app().request('GET', `${path}/${ref}`)).status]).toEqual([true, 200])
    })

    test.skipIf(stores().redis === null)(
      '204 cascade: its databases go and their sessions end, others stay',
      async () => {
        const [project, other] = [await add(), await add()]
        const kept = await addDatabase(other.ref)
        const gone = [
          await addDatabase(project.ref, stores().redis?.url, ''),
          await addDatabase(project.ref, stores().redis?.url, ''),
        ]
        const before = app().deps.connections.size
        for (const { id } of gone) expect((await app().request('GET', `${databases}/${id}/info`)).status).toBe(200)
        expect(app().deps.connections.size).toBe(before + 2)
        expect((await app().request('DELETE', `${path}/${project.ref}?cascade=true`)).status).toBe(204)
        expect(app().deps.connections.size).toBe(before)
        expect([await exists(gone[0].id), await exists(gone[1].id), await exists(kept.id)]).toEqual([
          false,
          false,
          true,
        ])
      },
    )
  })

  test('no answer holds what Studio keeps in a project or in credentials', async () => {
    const { ref, id } = await add()
    await inRegistry(app(), async (sql) => {
      await sql`
        update platform.projects set database_host = ${canary}, database_user = ${canary}, database_password = ${canary},
          database_name = ${canary} where ref = ${ref}`
      await sql`
        insert into platform.credentials (project_id, anon_key, service_role_key, jwt_secret)
        values (${id}, ${canary}, ${canary}, ${canary})`
    })
    const answers = [
      await app().request('GET', path),
      await app().request('GET', `${path}/${ref}`),
      await app().request('PATCH', `${path}/${ref}`, { body: { name: 'Renamed' } }),
      await app().request('GET', '/api/platform/organizations'),
      await app().request('GET', `${databases}?projectRef=${ref}`),
    ]
    for (const { status, text } of answers) {
      expect(status).toBe(200)
      expect(text).not.toContain(canary)
      expect(text).not.toMatch(/database_(password|user|host)|anon_key|service_role_key|jwt_secret/)
    }
  })

  describe('400 names the field, and saves nothing', () => {
    const notText = [1, true, null, [], {}]
    const table: readonly (readonly [string, ...unknown[]])[] = [
      ['name', '', 'n'.repeat(201), 'a\0', '\ud800', ...notText],
      ['ref', '', 'a b', 'a/b', 'r'.repeat(65), "'; --", 'é', 'a\0', ...notText],
      ['organizationSlug', '', 'A', 'a b', 's'.repeat(65), "' or 1=1 --", ...notText],
    ]
    for (const [field, ...values] of table) {
      test(field, async () => {
        const { text } = await app().request('GET', path)
        for (const value of values) {
          const { status, body } = await create({
            name: 'a',
            ref: newName(),
            organizationSlug: 'default',
            [field]: value,
          })
          expect([value, status, body.error.details[0].field]).toEqual([value, 400, field])
        }
        expect((await app().request('GET', path)).text).toBe(text)
      })
    }

    test('unknown keys, queries and paths', async () => {
      const { ref } = await add()
      const wrong: readonly (readonly [string, string, unknown?])[] = [
        ['POST', path, { name: 'a', ref: newName(), organizationSlug: 'default', databasePassword: 'x' }],
        ['POST', path, {}],
        ['PATCH', `${path}/${ref}`, {}],
        ['PATCH', `${path}/${ref}`, { ref: 'other' }],
        ['PATCH', `${path}/${ref}`, { name: 'a', database_password: 'x' }],
        ['PATCH', `${path}/${ref}`, { name: 1 }],
        ['PATCH', `${path}/${ref}`, '{"__proto__":{"name":"x"}}'],
        ['DELETE', `${path}/${ref}?cascade=yes`],
        ['DELETE', `${path}/${ref}?cascade=`],
        ['GET', `${path}?organizationSlug=A`],
        ['GET', `${path}?limit=1e2`],
        ['GET', `${path}?cursor=x`],
        ['GET', `${path}/a%20b`],
        ['GET', `${path}/%00`],
        ['DELETE', `${path}/${'r'.repeat(65)}`],
      ]
      for (const [method, url, body] of wrong) {
        const answer = await app().request(method, url, { body })
        expect([method, url, answer.status, answer.body.error.code]).toEqual([method, url, 400, 'VALIDATION_FAILED'])
      }
      expect((await app().request('GET', `${path}/${ref}`)).body.name).toBe('Shop')
    })
  })
})
