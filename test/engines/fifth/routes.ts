import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { engines } from '#src/engines/index.ts'
import { rewrap } from '#src/registry/rewrap.ts'
import { newName, path } from '#test/registry/registries.ts'
import { inRegistry } from '#test/registry/registries.ts'
import { insertRow } from '#test/registry/stored-rows.ts'
import { createTestApp, registryKinds, type TestApp } from '#test/support/app.ts'
import { canary } from '#test/support/stores.ts'
import type { Memcached } from './server.ts'

// Runs in a copy of the repository that has memcached: fifth.test.ts makes it.
const { user, password, port } = JSON.parse(process.env['TEST_MEMCACHED'] ?? '{}') as Memcached
const connectionString = `memcached://${user}:${password}@127.0.0.1:${port}`
const type = 'memcached'

describe('memcached behind the generic routes', () => {
  let app: TestApp
  beforeAll(async () => {
    app = await createTestApp({ registry: registryKinds.at(-1) ?? 'embedded' })
  })
  afterAll(() => app[Symbol.asyncDispose]())

  test('201 and in the lists, with its masked connection string', async () => {
    const name = newName()
    const { id } = await app.register({ name, type, connectionString })
    const { body } = await app.request('GET', `${path}?type=${type}&search=${name}`)
    const masked = connectionString.replace(password, '****')
    expect(body).toEqual([expect.objectContaining({ id, type, name, connection_string: masked, status: 'active' })])
    const renamed = await app.request('PATCH', `${path}/${id}`, { body: { name: newName() } })
    expect([renamed.status, (await app.request('DELETE', `${path}/${id}`)).status]).toEqual([200, 204])
  })

  test('400 for what its options and config do not take', async () => {
    const refused = [
      { connectionString: `${connectionString}/0` },
      { connectionString: `${connectionString}?weight=1` },
      { connectionString: connectionString.replace('memcached:', 'redis:') },
      { connectionString, config: { databases: 2 } },
    ]
    for (const more of refused) {
      const { status, body } = await app.request('POST', `${path}/test`, { body: { type, ...more } })
      expect([more.config, status, body.error?.code]).toEqual([more.config, 400, 'VALIDATION_FAILED'])
    }
  })

  test('424 for another password, never sent to a server that wants none', async () => {
    const report = await app.request('POST', `${path}/test`, {
      body: { type, connectionString: connectionString.replace(password, canary) },
    })
    expect(report.body.error).toMatchObject({ code: 'DB_INVALID_CREDENTIALS', details: { stage: 'auth' } })
  })

  test('the routes of another type do not take it', async () => {
    const { id } = await app.register({ name: newName(), type, connectionString })
    expect((await app.request('GET', `/api/platform/redis/${id}/keys`)).body.error.code).toBe('DB_NOT_FOUND')
  })

  test('rewrap seals a row left in plain text', async () => {
    const id = await inRegistry(app, (sql) => insertRow(sql, { type, stored: connectionString }))
    expect((await app.request('POST', `${path}/${id}/test`)).status).toBe(424)
    const { databases: store, keyring } = app.deps
    expect(await rewrap({ store, keyring, engines, batch: 100, dryRun: false })).toMatchObject({
      rewrapped: 1,
      failed: 0,
    })
    expect((await app.request('POST', `${path}/${id}/test`)).body).toMatchObject({ ok: true })
  })
})
