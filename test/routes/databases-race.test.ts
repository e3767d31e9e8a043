import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { eventually, newName, path } from '#test/registry/registries.ts'
import { withClient } from '#test/registry/scratch.ts'
import { createScratchDatabase, createTestApp, type TestApp, testKeys } from '#test/support/app.ts'
import { canary, stores } from '#test/support/stores.ts'

const { postgres18, postgres15 } = stores()

for (const [registry, store] of [['postgres18', postgres18] as const, ['postgres15', postgres15] as const]) {
  describe.skipIf(store === null)(`two instances on one ${registry}`, () => {
    const keys = testKeys()
    const cleanup = new AsyncDisposableStack()
    let url = ''
    let apps: readonly TestApp[] = []

    // Both find an empty registry and migrate it at the same time.
    beforeAll(async () => {
      const scratch = cleanup.use(await createScratchDatabase(store ?? postgres18))
      url = scratch.url
      const env = { ...keys, DATABASE_URL: url }
      apps = await Promise.all([createTestApp({ registry, env }), createTestApp({ registry, env })])
      for (const app of apps) cleanup.use(app)
    })
    afterAll(() => cleanup.disposeAsync())

    const on = (index: number, method: string, url: string, body?: unknown, headers: Record<string, string> = {}) => {
      const app = apps[index]
      if (app === undefined) throw new Error('there are two instances')
      return app.request(method, url, { body, headers, key: keys.BUN_API_KEY })
    }
    const input = (name: string) => ({
      projectRef: 'default',
      name,
      type: 'redis',
      connectionString: `redis://:${canary}@store.test`,
    })

    test('both migrated it, each file once, with one canary row and one default project', async () => {
      const facts = await withClient(url, (sql) =>
        Promise.all([
          sql`select count(*)::int as count, count(distinct name)::int as names from platform.bun_api_migrations`,
          sql`select count(*)::int as count from platform.key_canaries`,
          sql`select ref from platform.projects`,
        ]),
      )
      const [[migrations], [canaries], projects] = facts
      expect([migrations?.['count'] === migrations?.['names'], canaries?.['count'], [...projects]]).toEqual([
        true,
        1,
        [{ ref: 'default' }],
      ])
    })

    test('201 once and 409 once for one name, 20 times', async () => {
      for (let round = 0; round < 20; round++) {
        const name = newName()
        const answers = await Promise.all(
          [0, 1].map((index) => on(index, 'POST', `${path}?skipTest=true`, input(name))),
        )
        expect(answers.map(({ status, body }) => [status, body.error?.code]).sort()).toEqual([
          [201, undefined],
          [409, 'CONFLICT'],
        ])
      }
    })

    test('200 once and 412 once for one ETag, 20 times', async () => {
      const { id } = (await on(0, 'POST', `${path}?skipTest=true`, input(newName()))).body
      for (let version = 1; version <= 20; version++) {
        const change = (index: number) =>
          on(index, 'PATCH', `${path}/${id}`, { description: `${index} ${version}` }, { 'if-match': `"${version}"` })
        const answers = await Promise.all([change(0), change(1)])
        expect(answers.map(({ status }) => status).sort()).toEqual([200, 412])
      }
    })

    test('409 once when two give their databases one name', async () => {
      const ids = [
        (await on(0, 'POST', `${path}?skipTest=true`, input(newName()))).body.id,
        (await on(1, 'POST', `${path}?skipTest=true`, input(newName()))).body.id,
      ]
      const name = newName()
      const answers = await Promise.all(ids.map((id, index) => on(index, 'PATCH', `${path}/${id}`, { name })))
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 409])
    })

    test('409 or 404 for a database registered while its project is deleted, never a 500 and never a row', async () => {
      for (let round = 0; round < 10; round++) {
        const ref = newName('project')
        await on(0, 'POST', '/api/platform/projects', { name: ref, ref, organizationSlug: 'default' })
        const [created, removed] = await Promise.all([
          on(0, 'POST', `${path}?skipTest=true`, { ...input(newName()), projectRef: ref }),
          on(1, 'DELETE', `/api/platform/projects/${ref}`),
        ])
        expect([[201, 409].join(), [404, 204].join()]).toContain([created.status, removed.status].join())
      }
    })

    test('a secret changed on one instance is used by the other, whose old session ends', async () => {
      const { limited } = stores().redis ?? {}
      const { url: connectionString } = stores().redis ?? {}
      if (limited === undefined || connectionString === undefined) return
      const { id } = (await on(0, 'POST', path, { ...input(newName()), connectionString })).body
      await on(1, 'GET', `${path}/${id}/info`)
      const before = apps[1]?.deps.connections.size
      const { username, password } = limited
      expect((await on(0, 'PATCH', `${path}/${id}`, { username, password })).status).toBe(200)
      // The new user may not use INFO, which the first one could.
      await eventually(async () => (await on(1, 'GET', `${path}/${id}/info`)).body.version === 'unknown', 1_000)
      expect(apps[1]?.deps.connections.size).toBe(before)
    })
  })
}
