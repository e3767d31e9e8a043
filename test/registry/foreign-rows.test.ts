import { expect, test } from 'bun:test'
import { describeRegistries, inRegistry, newName, path } from './registries.ts'

describeRegistries('rows of other programs', (app) => {
  const add = async () =>
    (
      await app().request('POST', `${path}?skipTest=true`, {
        body: { projectRef: 'default', name: newName(), type: 'redis', connectionString: 'redis://store.test' },
      })
    ).body

  test('200 beside a config that is no object and timestamps that are not there', async () => {
    const row = await add()
    await inRegistry(
      app(),
      (sql) =>
        sql`alter table platform.databases alter column created_at drop not null, alter column updated_at drop not null`,
    )
    await inRegistry(
      app(),
      (sql) => sql`
        update platform.databases set config = '"text"', created_at = null, updated_at = null where id = ${row.id}`,
    )
    expect((await app().request('GET', `${path}/${row.id}`)).body).toMatchObject({ id: row.id, config: {} })
    expect((await app().request('GET', path)).status).toBe(200)
    expect((await app().request('DELETE', `${path}/${row.id}`)).status).toBe(204)
  })

  test('200 in a project without an organization', async () => {
    const ref = newName('orphan')
    await app().request('POST', '/api/platform/projects', { body: { name: ref, ref, organizationSlug: 'default' } })
    await inRegistry(app(), (sql) => sql`update platform.projects set organization_id = null where ref = ${ref}`)
    const { status, body } = await app().request('POST', `${path}?skipTest=true`, {
      body: { projectRef: ref, name: 'own', type: 'redis', connectionString: 'redis://store.test' },
    })
    expect([status, body.organization_slug]).toEqual([201, null])
    expect((await app().request('GET', `${path}?projectRef=${ref}`)).body).toHaveLength(1)
  })

  test('424 for a stored connection that no longer fits its config, and a whole new one mends it', async () => {
    const { body: row } = await app().request('POST', `${path}?skipTest=true`, {
      body: { projectRef: 'default', name: newName(), type: 'redis', connectionString: 'redis://store.test/12' },
    })
    await inRegistry(
      app(),
      (sql) => sql`update platform.databases set config = '{"databases": 2}' where id = ${row.id}`,
    )
    const answer = await app().request('GET', `/api/platform/redis/${row.id}/keys`)
    expect([answer.status, answer.body.error.code]).toEqual([424, 'DB_CREDENTIALS_UNREADABLE'])
    const mended = await app().request('PATCH', `${path}/${row.id}`, {
      body: { connectionString: 'redis://127.0.0.1:1/1' },
    })
    // It was tried, which is further than its stored form got.
    expect([mended.status, mended.body.error.details.reason]).toEqual([400, 'refused'])
  })
})
