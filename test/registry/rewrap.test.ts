import { afterEach, describe, expect, test } from 'bun:test'
import { sealValue } from '#src/credentials/sealed.ts'
import { engines } from '#src/engines/index.ts'
import { rewrap, type RewrapOptions } from '#src/registry/rewrap.ts'
import { sealLegacy } from '#test/credentials/crypto-js.ts'
import { createTestApp } from '#test/support/app.ts'
import { canary, stores } from '#test/support/stores.ts'
import { describeRegistries, inRegistry, path } from './registries.ts'
import { insertRow, newKey, newPlace, openedRows, sealedRow, type StoredRow } from './stored-rows.ts'

const [current, previous, ofRedis, foreign] = await Promise.all([newKey(), newKey(), newKey(), newKey()])
const passphrase = 'SAMPLE_KEY'
const env = {
  MULTI_DB_CRYPTO_KEY: current.text,
  MULTI_DB_CRYPTO_KEY_PREVIOUS: previous.text,
  REDIS_CRYPTO_KEY: ofRedis.text,
}
const texts = {
  postgres: `postgresql://u:${canary}-p@pg.internal:5432/app`,
  redis: `redis://default:${canary}%2Fr@redis.internal:6380/2`,
  mongodb: `mongodb://u:${canary}-m@one.internal:27017,two.internal:27018/app?replicaSet=rs0`,
  bun_api: `https://:${canary}-b@api.internal:443/base`,
} as const
type Kind = keyof typeof texts
const kinds = Object.keys(texts) as Kind[]
/** Host, port and masked string of each, as a row shows them afterwards. */
const shown = {
  postgres: ['pg.internal', 5432, 'postgresql://u:****@pg.internal:5432/app'],
  redis: ['redis.internal', 6380, 'redis://default:****@redis.internal:6380/2'],
  mongodb: ['one.internal', 27017, 'mongodb://u:****@one.internal:27017,two.internal:27018/app?replicaSet=rs0'],
  bun_api: ['api.internal', 443, expect.stringMatching(/^https:\/\/:\*{4}@api\.internal:443\/.*base$/)],
} as const

describeRegistries(
  'rewrap',
  (app) => {
    afterEach(() => inRegistry(app(), (sql) => sql`delete from platform.databases`))

    const run = async (more: Partial<RewrapOptions> = {}) => {
      const problems: string[] = []
      const { databases: store, keyring } = app().deps
      const report = (id: string, problem: string) => problems.push(`${id}: ${problem}`)
      const counts = await rewrap({
        store,
        keyring,
        engines,
        legacyPassphrase: passphrase,
        batch: 3,
        dryRun: false,
        report,
        ...more,
      })
      expect(problems.join()).not.toContain(canary)
      return { ...counts, problems }
    }
    const insert = (...rows: StoredRow[]) =>
      inRegistry(app(), async (sql) => {
        const ids: string[] = []
        for (const row of rows) ids.push(await insertRow(sql, row))
        return ids
      })
    const under = (ring: typeof current.ring, kind: Kind) =>
      inRegistry(app(), (sql) => sealedRow(sql, ring, kind, texts[kind]))
    const opened = () => inRegistry(app(), (sql) => openedRows(sql, app().deps.keyring))
    const dump = () =>
      inRegistry(app(), async (sql) => [
        ...(await sql`select *, xmin::text from platform.databases order by id`),
        ...(await sql`select * from platform.key_canaries order by kid`),
      ])
    const seals = () =>
      inRegistry(app(), async (sql) => {
        const rows = await sql`select kid, seals::int from platform.key_canaries`
        return new Map(rows.map((row) => [String(row['kid']), Number(row['seals'])]))
      })
    const oldRows = async () => {
      const rows: StoredRow[] = []
      for (const kind of kinds) {
        rows.push({ type: kind, stored: texts[kind] }, { type: kind, stored: sealLegacy(passphrase, texts[kind]) })
        rows.push(await under(previous.ring, kind))
      }
      return rows
    }

    test('plain text, crypto-js values and rows under a previous key are sealed under the key of their engine', async () => {
      const before = await seals()
      const rows = await oldRows()
      const ids = await insert(...rows)
      const places = await Promise.all(ids.map((id) => app().request('POST', `${path}/${id}/test`)))
      // Under the previous key they are readable already.
      expect(places.map(({ status }) => status)).toEqual(rows.map((_, index) => (index % 3 === 2 ? 200 : 424)))
      expect(await run()).toEqual({ rewrapped: 12, skipped: 0, failed: 0, problems: [] })
      const now = await opened()
      for (const [index, id] of ids.entries()) {
        const kind = rows[index]?.type as Kind
        const row = await app().deps.databases.get(id)
        const kid = kind === 'redis' ? ofRedis.ring.current().kid : current.ring.current().kid
        expect(row?.connection_string).toStartWith(`enc:v1:${kid}:`)
        expect([row?.host, row?.port, row?.masked_connection_string]).toEqual([...shown[kind]])
        expect(decodeURIComponent(now.get(id) ?? '')).toBe(decodeURIComponent(texts[kind]))
        expect((await app().request('GET', `${path}/${id}`)).body).toMatchObject({ has_credentials: true, version: 2 })
      }
      const after = await seals()
      const counted = (kid: string) => (after.get(kid) ?? 0) - (before.get(kid) ?? 0)
      expect([counted(current.ring.current().kid), counted(ofRedis.ring.current().kid)]).toEqual([9, 3])
    })

    test('what is sealed under the right key already is skipped and not touched', async () => {
      for (const kind of kinds) await insert(await under(app().deps.keyring, kind))
      const before = await dump()
      expect(await run()).toEqual({ rewrapped: 0, skipped: 4, failed: 0, problems: [] })
      expect(await dump()).toEqual(before)
    })

    test('a row under the common key goes to the key its engine has been given since', async () => {
      const [id = ''] = await insert(await under(current.ring, 'redis'))
      expect(await run()).toMatchObject({ rewrapped: 1, failed: 0 })
      expect(await inRegistry(app(), (sql) => openedRows(sql, ofRedis.ring))).toEqual(new Map([[id, texts.redis]]))
    })

    test('a second run skips all of it', async () => {
      await insert(...(await oldRows()))
      await run()
      const before = await dump()
      expect(await run()).toEqual({ rewrapped: 0, skipped: 12, failed: 0, problems: [] })
      expect(await dump()).toEqual(before)
    })

    test('a dry run counts the same and writes nothing', async () => {
      await insert(...(await oldRows()), await under(app().deps.keyring, 'redis'), {
        type: 'redis',
        stored: 'nonsense',
      })
      const before = await dump()
      const tried = await run({ dryRun: true })
      expect(await dump()).toEqual(before)
      expect(tried).toEqual({ rewrapped: 12, skipped: 1, failed: 1, problems: [expect.any(String)] })
      expect(await run()).toEqual(tried)
    })

    for (const batch of [1, 11, 12, 13, 10_000]) {
      test(`all rows are found ${batch} at a time`, async () => {
        await insert(...(await oldRows()))
        expect(await run({ batch })).toMatchObject({ rewrapped: 12, skipped: 0, failed: 0 })
        expect([...(await opened()).values()]).toHaveLength(12)
      })
    }

    test('what can not be read is named with its id and a reason, stays as it is, and holds up nobody', async () => {
      const good = await under(previous.ring, 'postgres')
      const alien = await under(foreign.ring, 'redis')
      const elsewhere = await inRegistry(app(), newPlace)
      const moved = await sealValue(current.ring.current(), elsewhere, texts.redis)
      const wrongKey = sealLegacy('another passphrase', texts.redis)
      const rows: readonly (readonly [StoredRow, RegExp])[] = [
        [alien, /key [0-9a-f]{8}, which this server does not have/],
        [{ type: 'redis', stored: moved }, /belong to another database/],
        [{ type: 'redis', stored: `${good.stored}A` }, /damaged|do not open/],
        [{ type: 'redis', stored: 'enc:v2:whatever' }, /newer version/],
        [{ type: 'redis', stored: wrongKey }, /PG_META_CRYPTO_KEY does not open it|must begin|must not hold/],
        [{ type: 'redis', stored: sealLegacy(passphrase, texts.redis).slice(0, -4) }, /PG_META_CRYPTO_KEY does not/],
        [{ type: 'redis', stored: sealLegacy(passphrase, `${canary} no url`) }, /must not hold spaces/],
        [{ type: 'redis', stored: '' }, /must begin with a scheme/],
        [{ type: 'redis', stored: `${canary}-garbage` }, /must begin with a scheme/],
        [{ type: 'redis', stored: texts.postgres }, /must begin with redis:/],
        [{ type: 'redis', stored: `redis://:${canary}@h/0?path=${canary}` }, /option path is not allowed/],
        [{ type: 'redis', stored: `redis://:${canary}@h/99` }, /below 16/],
        [{ type: 'mongodb', stored: `mongodb://u:${canary}@h/?tlsInsecure=true` }, /option tlsInsecure is not allowed/],
      ]
      const [last = '', ...ids] = await insert(good, ...rows.map(([row]) => row))
      const before = new Map((await dump()).map((row) => [row['id'], row]))
      const { problems, ...counts } = await run()
      expect(counts).toEqual({ rewrapped: 1, skipped: 0, failed: rows.length })
      for (const [index, id] of ids.entries()) {
        const problem = problems.find((line) => line.startsWith(`${id}: `)) ?? ''
        expect(problem).toMatch(rows[index]?.[1] ?? /^$/)
      }
      expect(problems).toHaveLength(ids.length)
      const after = await dump()
      expect(after.filter((row) => ids.includes(String(row['id'])))).toEqual(
        [...before.values()].filter((row) => ids.includes(String(row['id']))),
      )
      expect((await app().request('GET', `${path}/${last}`)).status).toBe(200)
    })

    test('crypto-js values need PG_META_CRYPTO_KEY, and the others do not', async () => {
      await insert(...(await oldRows()))
      const { problems, ...counts } = await run({ legacyPassphrase: undefined })
      expect(counts).toEqual({ rewrapped: 8, skipped: 0, failed: 4 })
      expect(problems).toEqual(Array(4).fill(expect.stringContaining('set PG_META_CRYPTO_KEY')))
    })

    test('whatever stands in config, a row with a readable connection string is done', async () => {
      const configs = [
        '{}',
        'null',
        '[]',
        '"text"',
        '7',
        '{"databases":"many","readOnly":1}',
        '{"unknown":{"deep":[null]}}',
      ]
      await inRegistry(app(), (sql) => sql`alter table platform.databases alter column config drop not null`)
      await insert(...[...configs, null].map((config) => ({ type: 'redis', stored: texts.redis, config })))
      expect(await run()).toEqual({ rewrapped: 8, skipped: 0, failed: 0, problems: [] })
      expect((await app().request('GET', path)).body.map((row: { config: unknown }) => row.config)).toHaveLength(8)
    })

    test('rows no list shows are found: without a project they are named, without an organization they are done', async () => {
      const [orphan = '', homeless = ''] = await insert(
        { type: 'redis', stored: texts.redis },
        { type: 'redis', stored: texts.redis },
      )
      await inRegistry(app(), async (sql) => {
        await sql`alter table platform.databases alter column project_id drop not null`
        await sql`update platform.databases set project_id = null where id = ${orphan}`
        await sql`
          with lonely as (
            insert into platform.projects (name, slug, ref, database_host, database_name, database_user, database_password)
            values ('Lonely', 'lonely', 'lonely', '', '', '', '') on conflict do nothing returning id
          )
          update platform.databases set project_id = lonely.id from lonely where databases.id = ${homeless}`
      })
      expect(await run()).toEqual({
        rewrapped: 1,
        skipped: 0,
        failed: 1,
        problems: [`${orphan}: The row belongs to no project: give it one, or remove it.`],
      })
    })

    test('a type this server has no engine for is named, unless its key is the current one', async () => {
      await inRegistry(app(), (sql) => sql`alter type platform.database_type add value if not exists 'other'`)
      const sealed = (ring: typeof current.ring) =>
        inRegistry(app(), (sql) => sealedRow(sql, ring, 'other', 'other://h'))
      await insert(await sealed(current.ring), await sealed(previous.ring))
      expect(await run()).toEqual({
        rewrapped: 0,
        skipped: 1,
        failed: 1,
        problems: [expect.stringContaining('no engine for the type')],
      })
    })
  },
  { env },
)

describe('rewrap of real stores', () => {
  test('a row left in plain text answers 424 until it is done, and works at once afterwards', async () => {
    const { postgres18 } = stores()
    await using app = await createTestApp({ env: { ...env, MAX_SEALS_PER_KEY: '1' } })
    const ids = await inRegistry(app, async (sql) => [
      await insertRow(sql, { type: 'postgres', stored: postgres18.reader.url }),
      await insertRow(sql, { type: 'postgres', stored: postgres18.reader.url }),
    ])
    const query = async (id = '') =>
      (await app.request('POST', `/api/platform/postgres/${id}/query`, { body: { query: 'select 1 as one' } })).status
    expect([await query(ids[0]), await query(ids[1])]).toEqual([424, 424])
    const problems: string[] = []
    const { databases: store, keyring } = app.deps
    const report = (_id: string, problem: string) => problems.push(problem)
    const counts = await rewrap({ store, keyring, engines, batch: 10, dryRun: false, report })
    // The key may seal once: the limit holds here too.
    expect(counts).toEqual({ rewrapped: 1, skipped: 0, failed: 1 })
    expect(problems).toEqual([expect.stringContaining('The sealing key has been used as often as is safe')])
    expect([await query(ids[0]), await query(ids[1])].sort()).toEqual([200, 424])
  })
})
