import { describe, expect, test } from 'bun:test'
import { createRedisUser } from './redis-user.ts'
import { describeRegistries, eventually, inRegistry, newName, path } from './registries.ts'
import { createDeps } from '#src/deps.ts'
import { callWithin } from '#src/engines/engine.ts'
import { redis as redisEngine } from '#src/engines/redis/engine.ts'
import { createLog } from '#src/log.ts'
import { readChange } from '#src/registry/changes.ts'
import { stores } from '#test/support/stores.ts'

const { redis, redisOpen } = stores()

test('a notification says which row, and which version of it is the oldest that holds', () => {
  const payloads = [
    '{"table":"databases","id":"1","version":3,"op":"UPDATE"}',
    '{"table":"databases","id":"1","version":3,"op":"DELETE"}',
    '{"table":"projects","id":"1"}',
    '{"id":"1"}',
    '[',
    'null',
  ]
  expect(payloads.map(readChange)).toEqual([
    { table: 'databases', id: '1', version: 3 },
    { table: 'databases', id: '1', version: Infinity },
    { table: 'projects', id: '1', version: Infinity },
    undefined,
    undefined,
    undefined,
  ])
})

describe.skipIf(redis === null || redisOpen === null)('a registry change', () => {
  describeRegistries('reaches this process within a second', (app, kind) => {
    const keys = async (id: string) => (await app().request('GET', `/api/platform/redis/${id}/keys?count=1`)).status
    const add = async (connectionString: string | undefined): Promise<string> => {
      const { id } = await app().register({ name: newName(), type: 'redis', connectionString })
      expect(await keys(id)).toBe(200)
      return id
    }
    /** How long until `hasChanged`. */
    const measure = async (what: string, hasChanged: () => Promise<boolean>) => {
      const started = performance.now()
      await eventually(hasChanged, 1_000)
      console.log(`${kind}: ${what} was noticed after ${Math.round(performance.now() - started)} ms`)
    }

    test('PATCH and DELETE in this process take effect at once', async () => {
      const id = await add(redis?.url)
      const body = { connectionString: redisOpen?.url }
      expect((await app().request('PATCH', `${path}/${id}`, { body })).status).toBe(200)
      using call = callWithin(2_000)
      await using session = await app().deps.open(redisEngine, id, call)
      expect((await session.server.info('server', call)).raw).toContain(`tcp_port:${redisOpen?.port}`)
      expect((await app().request('DELETE', `${path}/${id}`)).status).toBe(204)
      expect(await keys(id)).toBe(404)
    })

    test('plain SQL: config, type and deletion', async () => {
      const id = await add(redis?.url)
      await inRegistry(app(), (sql) => sql`update platform.databases set config = '{"readOnly":true}' where id = ${id}`)
      const write = async () =>
        (await app().request('POST', `/api/platform/redis/${id}/set`, { body: { key: 'k', value: 'v' } })).status
      await measure('config by SQL', async () => (await write()) === 403)
      await inRegistry(app(), (sql) => sql`update platform.databases set type = 'mongodb' where id = ${id}`)
      await measure('type by SQL', async () => (await keys(id)) === 404)
      await inRegistry(app(), (sql) => sql`update platform.databases set type = 'redis' where id = ${id}`)
      await measure('type by SQL', async () => (await keys(id)) === 200)
      await inRegistry(app(), (sql) => sql`delete from platform.databases where id = ${id}`)
      await measure('deletion by SQL', async () => (await keys(id)) === 404)
      expect((await app().request('GET', `${path}/${id}`)).status).toBe(404)
    })

    test('a project removed by plain SQL takes its databases with it', async () => {
      const ref = newName()
      const project = { ref, name: 'Short', organizationSlug: 'default' }
      expect((await app().request('POST', '/api/platform/projects', { body: project })).status).toBe(201)
      const { id } = await app().register({
        projectRef: ref,
        name: newName(),
        type: 'redis',
        connectionString: redis?.url,
      })
      expect(await keys(id)).toBe(200)
      await inRegistry(app(), async (sql) => {
        await sql`delete from platform.databases where project_id = (select id from platform.projects where ref = ${ref})`
        await sql`delete from platform.projects where ref = ${ref}`
      })
      await measure('removal of a project by SQL', async () => (await keys(id)) === 404)
    })

    test('what is shown: names of project and organization, and status, by plain SQL', async () => {
      const id = await add(redis?.url)
      const shown = async (where: string) => {
        const { body } = await app().request('GET', where)
        const row = Array.isArray(body) ? body.find((one: { id: string }) => one.id === id) : body
        return [row.project_name, row.organization_name, row.status]
      }
      const before = await Promise.all([shown(`${path}/${id}`), shown(path)])
      expect(before.map(([, , status]) => status)).toEqual(['active', 'active'])
      const [project, organization] = [newName('Renamed'), newName('Renamed')]
      await inRegistry(app(), async (sql) => {
        await sql`update platform.projects set name = ${project} where ref = 'default'`
        await sql`update platform.organizations set name = ${organization} where slug = 'default'`
        await sql`update platform.databases set status = 'error' where id = ${id}`
      })
      for (const where of [`${path}/${id}`, path])
        await measure('what is shown', async () => Bun.deepEquals(await shown(where), [project, organization, 'error']))
      expect(await keys(id)).toBe(200)
    })

    test('what is shown follows at once what this process changes', async () => {
      const id = await add(redis?.url)
      const show = async (where: string) => {
        const { body } = await app().request('GET', where)
        return Array.isArray(body) ? body.find((one: { id: string }) => one.id === id) : body
      }
      const both = () => Promise.all([show(`${path}/${id}`), show(path)])
      const [before] = await both()
      const name = newName('Renamed')
      await app().request('PATCH', '/api/platform/projects/default', { body: { name } })
      expect((await both()).map((row) => row.project_name)).toEqual([name, name])
      await app().request('POST', `${path}/${id}/test`)
      const tested = await both()
      expect(tested.map((row) => row.last_connected_at > before.last_connected_at)).toEqual([true, true])
      await app().request('PATCH', `${path}/${id}`, { body: { description: 'new' } })
      expect((await both()).map((row) => row.description)).toEqual(['new', 'new'])
      await app().request('DELETE', `${path}/${id}`)
      expect((await both()).map((row) => row?.id)).toEqual([undefined, undefined])
    })

    test('status and last_connected_at end no session', async () => {
      await using user = await createRedisUser(redis as NonNullable<typeof redis>)
      const id = await add(user.url(1))
      const opened = () => app().deps.connections.metrics().opened
      const before = opened()
      await inRegistry(
        app(),
        (sql) => sql`update platform.databases set status = 'error', last_connected_at = now() where id = ${id}`,
      )
      expect((await app().request('POST', `${path}/${id}/test`)).body.ok).toBe(true)
      // A change that is told comes later than what would have been told before it.
      const other = await add(redisOpen?.url)
      await inRegistry(app(), (sql) => sql`delete from platform.databases where id = ${other}`)
      await eventually(async () => (await keys(other)) === 404)
      expect([await keys(id), opened() - before]).toEqual([200, 1])
    })

    test("one's own PATCH, heard again from the registry, ends no new session", async () => {
      const id = await add(redisOpen?.url)
      expect((await app().request('PATCH', `${path}/${id}`, { body: { description: 'new' } })).status).toBe(200)
      expect(await keys(id)).toBe(200)
      const before = app().deps.connections.metrics().opened
      const other = await add(redisOpen?.url)
      await inRegistry(app(), (sql) => sql`delete from platform.databases where id = ${other}`)
      await eventually(async () => (await keys(other)) === 404)
      expect([await keys(id), app().deps.connections.metrics().opened - before]).toEqual([200, 1])
    })

    test.skipIf(kind === 'embedded')('PATCH and DELETE in another instance', async () => {
      const id = await add(redis?.url)
      const log = createLog('silent')
      await using other = await createDeps(app().deps.config, { log })
      const { signal } = new AbortController()
      await other.registry.update(id, { config: { readOnly: true } }, undefined, signal)
      const write = async () =>
        (await app().request('POST', `/api/platform/redis/${id}/set`, { body: { key: 'k', value: 'v' } })).status
      await measure('PATCH in another instance', async () => (await write()) === 403)
      await other.registry.remove(id, undefined)
      await measure('DELETE in another instance', async () => (await keys(id)) === 404)
    })
  })
})
