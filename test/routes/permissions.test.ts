import { expect, test } from 'bun:test'
import { describeRegistries, inRegistry, newestFirst, newName, path as databases } from '#test/registry/registries.ts'
import { canary } from '#test/support/stores.ts'

const projects = '/api/platform/projects'
const nobody = '00000000-0000-4000-8000-000000000000'
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/)
const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)

describeRegistries('permissions', (app) => {
  const ask = async (method: string, url: string, body?: unknown) => {
    const answer = await app().request(method, url, { body })
    return [answer.status, answer.body?.error?.code ?? answer.body ?? answer.text]
  }
  const addDatabase = async () => {
    const connectionString = `redis://:${canary}@store.test`
    const body = { projectRef: 'default', name: newName(), type: 'redis', connectionString }
    return (await app().request('POST', `${databases}?skipTest=true`, { body })).body
  }
  const addProject = async () => {
    const ref = newName('project')
    await app().request('POST', projects, { body: { name: 'Shop', ref, organizationSlug: 'default' } })
    return ref
  }
  /** Both kinds of grants answer alike. */
  const scopes = [
    {
      of: 'a database',
      missing: 'DB_NOT_FOUND',
      missingUrl: `${databases}/${nobody}/permissions`,
      make: async () => {
        const { id } = await addDatabase()
        return { url: `${databases}/${id}/permissions`, named: { database_id: id } }
      },
    },
    {
      of: 'a project',
      missing: 'NOT_FOUND',
      missingUrl: `${projects}/nobody/permissions`,
      make: async () => {
        const ref = await addProject()
        return { url: `${projects}/${ref}/permissions`, named: { project_id: uuid, project_ref: ref } }
      },
    },
  ] as const

  for (const { of, missing, missingUrl, make } of scopes) {
    test(`200 a role on ${of} is granted, replaced and listed`, async () => {
      const { url, named } = await make()
      const user = crypto.randomUUID()
      const grant = {
        id: uuid,
        ...named,
        user_id: user,
        granted_by: 'service',
        created_at: timestamp,
        updated_at: timestamp,
      }
      const granted = await ask('PUT', `${url}/${user}`, { role: 'read' })
      const replaced = await ask('PUT', `${url}/${user.toUpperCase()}`, { role: 'admin' })
      expect([granted, replaced, await ask('GET', url)]).toEqual([
        [200, { ...grant, role: 'read' }],
        [200, { ...grant, role: 'admin' }],
        [200, [replaced[1]]],
      ])
      expect([replaced[1].id, replaced[1].created_at]).toEqual([granted[1].id, granted[1].created_at])
      expect(replaced[1].updated_at >= granted[1].updated_at).toBe(true)
    })

    test(`204 a role on ${of} is taken away; 404 where there is none`, async () => {
      const { url } = await make()
      const user = crypto.randomUUID()
      await ask('PUT', `${url}/${user}`, { role: 'write' })
      expect([
        await ask('DELETE', `${url}/${user}`),
        await ask('DELETE', `${url}/${user}`),
        await ask('GET', url),
      ]).toEqual([
        [204, ''],
        [404, 'NOT_FOUND'],
        [200, []],
      ])
    })

    test(`404 ${of} that is not there`, async () => {
      expect([
        await ask('GET', missingUrl),
        await ask('PUT', `${missingUrl}/${nobody}`, { role: 'read' }),
        await ask('DELETE', `${missingUrl}/${nobody}`),
      ]).toEqual([
        [404, missing],
        [404, missing],
        [404, missing],
      ])
    })

    test(`400 what is no role, no body of one or no user of ${of}`, async () => {
      const { url } = await make()
      const put = (body: unknown, user = nobody) => ask('PUT', `${url}/${user}`, body)
      const answers = [
        await put({ role: 'owner' }),
        await put({ role: 'Admin' }),
        await put({}),
        await put({ role: 'read', database_id: nobody }),
        await put({ role: 'read', granted_by: 'somebody' }),
        await put('{'),
        await put({ role: 'read' }, 'x'.repeat(256)),
        await put({ role: 'read' }, '%00'),
        await ask('GET', `${url}?limit=0`),
        await ask('GET', `${url}?cursor=forged`),
      ]
      expect([answers, await ask('GET', url)]).toEqual([answers.map(() => [400, 'VALIDATION_FAILED']), [200, []]])
    })

    test(`pages of grants of ${of} hold each once, newest first`, async () => {
      const { url } = await make()
      const made: { readonly id: string; readonly created_at: string }[] = []
      for (let n = 0; n < 5; n++) made.push((await ask('PUT', `${url}/${crypto.randomUUID()}`, { role: 'read' }))[1])
      const found: unknown[] = []
      let next: string | undefined = `${url}?limit=2`
      while (next !== undefined) {
        const { body, headers } = await app().request('GET', next)
        found.push(...body)
        next = /^<(.+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1]
      }
      expect(found).toEqual(newestFirst(made))
    })
  }

  test('a user of a database is a UUID, of a project whatever its issuer says', async () => {
    const { id } = await addDatabase()
    const ref = await addProject()
    const user = 'auth0|Ada Lovelace/1'
    const encoded = encodeURIComponent(user)
    const [status, row] = await ask('PUT', `${projects}/${ref}/permissions/${encoded}`, { role: 'read' })
    expect([
      await ask('PUT', `${databases}/${id}/permissions/${encoded}`, { role: 'read' }),
      [status, row.user_id],
      await ask('DELETE', `${projects}/${ref}/permissions/${encoded}`),
    ]).toEqual([
      [400, 'VALIDATION_FAILED'],
      [200, user],
      [204, ''],
    ])
  })

  test('grants another program wrote are listed', async () => {
    const { id } = await addDatabase()
    const user = crypto.randomUUID()
    await inRegistry(
      app(),
      (sql) =>
        sql`insert into platform.database_permissions (database_id, user_id, role) values (${id}, ${user}, 'write')`,
    )
    expect(await ask('GET', `${databases}/${id}/permissions`)).toEqual([
      200,
      [
        {
          id: uuid,
          database_id: id,
          user_id: user,
          role: 'write',
          granted_by: null,
          created_at: timestamp,
          updated_at: timestamp,
        },
      ],
    ])
  })

  test('a grant does not move the version of its database', async () => {
    const { id, version } = await addDatabase()
    await ask('PUT', `${databases}/${id}/permissions/${nobody}`, { role: 'read' })
    expect((await app().request('GET', `${databases}/${id}`)).body.version).toBe(version)
  })
})
