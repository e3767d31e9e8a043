import { afterEach, expect, test } from 'bun:test'
import { createKeyring } from '#src/credentials/keyring.ts'
import { sealValue } from '#src/credentials/sealed.ts'
import { engines } from '#src/engines/index.ts'
import { rewrap, type RewrapOptions } from '#src/registry/rewrap.ts'
import { stores } from '#test/support/stores.ts'
import { describeRegistries, inRegistry, newName, path } from './registries.ts'
import { insertRow, newKey, openedRows, sealedRow } from './stored-rows.ts'

const [current, previous] = await Promise.all([newKey(), newKey()])
const { postgres18 } = stores()
const before = `${postgres18.reader.url}?application_name=before`
const after = `${postgres18.reader.url}?application_name=after`

describeRegistries(
  'rewrap beside a serving server',
  (app) => {
    afterEach(() => inRegistry(app(), (sql) => sql`delete from platform.databases`))

    const run = (more: Partial<RewrapOptions> = {}) => {
      const { databases: store, keyring } = app().deps
      return rewrap({ store, keyring, engines, batch: 100, dryRun: false, ...more })
    }
    /** Runs over one row under the previous key; `meanwhile` happens after it was read and before it is written, the first time. */
    const raced = async (meanwhile: (id: string) => Promise<unknown>) => {
      const id = await inRegistry(app(), async (sql) =>
        insertRow(sql, await sealedRow(sql, previous.ring, 'postgres', before)),
      )
      const store = app().deps.databases
      let done = false
      const reseal: typeof store.reseal = async (...written) => {
        if (!done) {
          done = true
          await meanwhile(id)
        }
        return store.reseal(...written)
      }
      const counts = await run({ store: { ...store, reseal } })
      const opened = await inRegistry(app(), (sql) => openedRows(sql, current.ring))
      return { id, counts, text: opened.get(id) }
    }
    const patch = (id: string, body: object) => app().request('PATCH', `${path}/${id}`, { body })

    test('a PATCH of the connection string in between wins', async () => {
      const { counts, text } = await raced(async (id) => {
        expect((await patch(id, { connectionString: after, name: 'changed' })).status).toBe(200)
      })
      expect(counts).toEqual({ rewrapped: 0, skipped: 1, failed: 0 })
      expect(text).toContain('application_name=after')
    })

    test('a PATCH of something else in between is kept, and the row is done', async () => {
      const { id, counts, text } = await raced((id) => patch(id, { name: 'renamed', description: 'kept' }))
      expect(counts).toEqual({ rewrapped: 1, skipped: 0, failed: 0 })
      expect(text).toContain('application_name=before')
      expect((await app().request('GET', `${path}/${id}`)).body).toMatchObject({ name: 'renamed', description: 'kept' })
    })

    test('a row removed in between stays gone', async () => {
      const { id, counts } = await raced((id) => app().request('DELETE', `${path}/${id}`))
      expect(counts).toEqual({ rewrapped: 0, skipped: 1, failed: 0 })
      expect((await app().request('GET', `${path}/${id}`)).status).toBe(404)
    })

    test('a row that an older instance sealed under the previous key in between is done all the same', async () => {
      const { counts, text } = await raced(async (id) => {
        const row = await app().deps.databases.get(id)
        const place = { projectId: row?.project_id ?? '', databaseId: id, field: 'connection_string' }
        const sealed = await sealValue(previous.ring.current(), place, after)
        await inRegistry(
          app(),
          (sql) => sql`update platform.databases set connection_string = ${sealed} where id = ${id}`,
        )
      })
      expect(counts).toEqual({ rewrapped: 1, skipped: 0, failed: 0 })
      expect(text).toContain('application_name=after')
    })

    test('two runs at once do each row once', async () => {
      await inRegistry(app(), async (sql) => {
        for (let index = 0; index < 20; index++)
          await insertRow(sql, await sealedRow(sql, previous.ring, 'postgres', before))
      })
      const [one, two] = await Promise.all([run({ batch: 1 }), run({ batch: 7 })])
      expect([one.rewrapped + two.rewrapped, one.failed + two.failed]).toEqual([20, 0])
      const versions = await inRegistry(app(), (sql) => sql`select distinct version::int from platform.databases`)
      expect([...versions]).toEqual([{ version: 2 }])
    })

    test('under load no answer fails and no update is lost, however often the rows are sealed anew', async () => {
      const rings = await Promise.all([
        createKeyring({ current: current.raw, previous: [previous.raw] }),
        createKeyring({ current: previous.raw, previous: [current.raw] }),
      ])
      const [first, second] = [newName(), newName()]
      const rows = await Promise.all(
        [first, second].map((name) => app().register({ name, type: 'postgres', connectionString: before })),
      )
      const statuses: number[] = []
      let running = true
      const readers = rows.map(async ({ id }) => {
        for (; running;) {
          const body = { query: 'select 1 as one' }
          statuses.push((await app().request('POST', `/api/platform/postgres/${id}/query`, { body })).status)
          statuses.push((await app().request('GET', `${path}/${id}`)).status)
        }
      })
      // Each writer changes a field of its own: what one wrote must still be there when the other is done.
      let written = 0
      const writer = (async () => {
        for (; running; written += 1) {
          const answers = await Promise.all([
            patch(rows[0].id, { description: `${written}` }),
            patch(rows[0].id, { config: written % 2 === 0 ? {} : { readOnly: false } }),
            patch(rows[1].id, { description: `${written}` }),
          ])
          statuses.push(...answers.map(({ status }) => status))
          expect(answers.map(({ body }) => body.description)).toEqual([
            `${written}`,
            answers[1]?.body.description,
            `${written}`,
          ])
        }
      })()
      const until = performance.now() + 3_000
      let rewrapped = 0
      for (let turn = 1; performance.now() < until; turn++) {
        const counts = await run({ keyring: rings[turn % 2] ?? rings[0], batch: 1 })
        expect(counts.failed).toBe(0)
        rewrapped += counts.rewrapped
      }
      running = false
      await Promise.all([...readers, writer])
      expect(statuses.filter((status) => status !== 200)).toEqual([])
      expect(rewrapped).toBeGreaterThan(20)
      for (const { id } of rows)
        expect((await app().request('GET', `${path}/${id}`)).body.description).toBe(`${written - 1}`)
    }, 30_000)
  },
  { env: { MULTI_DB_CRYPTO_KEY: current.text, MULTI_DB_CRYPTO_KEY_PREVIOUS: previous.text } },
)
