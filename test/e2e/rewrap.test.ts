import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { eventually } from '#test/registry/registries.ts'
import { scratchFolder } from '#test/registry/scratch.ts'
import { insertRow, newKey, openedRows, sealedRow } from '#test/registry/stored-rows.ts'
import { sealLegacy } from '#test/credentials/crypto-js.ts'
import { createScratchDatabase, testKeys } from '#test/support/app.ts'
import { canary, stores } from '#test/support/stores.ts'
import { runRewrap, startRewrap } from './rewrap-process.ts'
import { clientOf, productionEnvironment, startServer } from './server.ts'

const [current, previous] = await Promise.all([newKey(), newKey()])
const text = `redis://:${canary}@redis.internal:6379/3`

describe('bun run rewrap', () => {
  let registry: Awaited<ReturnType<typeof createScratchDatabase>>
  let sql: postgres.Sql
  let env: Readonly<Record<string, string>>
  beforeAll(async () => {
    registry = await createScratchDatabase(stores().postgres18)
    const keys = { MULTI_DB_CRYPTO_KEY: current.text, MULTI_DB_CRYPTO_KEY_PREVIOUS: previous.text }
    env = { ...productionEnvironment(registry.url), ...keys, LOG_LEVEL: 'warn' }
    sql = postgres(registry.url, { max: 2, onnotice: () => undefined })
    expect(await runRewrap(env)).toMatchObject({
      code: 0,
      last: 'rewrapped: 0, skipped: 0, failed: 0',
      errors: '',
    })
  }, 30_000)
  afterAll(async () => {
    await sql.end()
    await registry[Symbol.asyncDispose]()
  })

  test('exits 1 while rows remain and 0 when none does; the counts are the last line', async () => {
    const [wrong] = [
      await insertRow(sql, { type: 'redis', stored: `${canary} nonsense` }),
      await insertRow(sql, { type: 'redis', stored: text }),
      await insertRow(sql, { type: 'redis', stored: sealLegacy('SAMPLE_KEY', text) }),
      await insertRow(sql, await sealedRow(sql, previous.ring, 'redis', text)),
      await insertRow(sql, await sealedRow(sql, current.ring, 'redis', text)),
    ]
    const standing = { REDIS_URL: 'redis://standing.internal:6379', PG_META_CRYPTO_KEY: 'SAMPLE_KEY' }
    const all = () => sql`select id, connection_string, version from platform.databases order by id`
    const before = [...(await all())]
    const counts = { code: 1, errors: expect.stringMatching(new RegExp(`^${wrong}: [^\n]+\n$`)) }
    expect(await runRewrap({ ...env, ...standing }, '--dry-run')).toMatchObject({
      ...counts,
      last: 'would be rewrapped: 3, skipped: 1, failed: 1',
    })
    expect([...(await all())]).toEqual(before)
    const run = await runRewrap({ ...env, ...standing }, '--batch', '2')
    expect(run).toMatchObject({ ...counts, last: 'rewrapped: 3, skipped: 1, failed: 1' })
    expect(run.output + run.errors).not.toContain(canary)
    await sql`delete from platform.databases where id = ${wrong}`
    const again = { code: 0, errors: '' }
    expect(await runRewrap(env, '--dry-run')).toMatchObject({
      ...again,
      last: 'would be rewrapped: 0, skipped: 4, failed: 0',
    })
    expect(await runRewrap(env)).toMatchObject({ ...again, last: 'rewrapped: 0, skipped: 4, failed: 0' })
    expect(new Set((await openedRows(sql, current.ring)).values())).toEqual(new Set([text]))
    await sql`delete from platform.databases`
  }, 30_000)

  test('exits 2 for wrong arguments, with one line', async () => {
    const wrong = [['--batch', '0'], ['--batch', '10001'], ['--batch', '1e2'], ['--batch'], ['--dryrun'], ['all']]
    for (const args of wrong) {
      const { code, output, errors } = await runRewrap(env, ...args)
      expect([args, code, output, errors.trimEnd().split('\n').length]).toEqual([args, 2, '', 1])
      expect(errors).toContain('--batch')
    }
  }, 30_000)

  test('exits 78 for a configuration that can not work, 1 for a registry that is away, with one line and no secret', async () => {
    const away = registry.url.replace(/@[^/]+/, '@127.0.0.1:1')
    const foreign = (await newKey()).text
    const cases = [
      [{ ...env, MULTI_DB_CRYPTO_KEY: 'SAMPLE_KEY' }, 78],
      [{ ...env, MULTI_DB_CRYPTO_KEY: foreign, MULTI_DB_CRYPTO_KEY_PREVIOUS: '' }, 78],
      [{ ...env, DATABASE_URL: away }, 1],
    ] as const
    for (const [given, expected] of cases) {
      const { code, output, errors } = await runRewrap(given)
      expect([code, output, errors.trimEnd().split('\n').length]).toEqual([expected, '', 1])
      expect(errors).toStartWith('bun-api: ')
      expect(errors).not.toContain(canary)
      expect(errors).not.toContain(foreign)
    }
  }, 30_000)

  test('killed again and again, it goes on where it was: every row opens and none is done twice', async () => {
    const rows = 300
    const texts = new Map<string, string>()
    for (let index = 0; index < rows; index++) {
      const own = `redis://:${canary}-${index}@redis.internal:6379/0`
      const old = [
        { type: 'redis', stored: own },
        { type: 'redis', stored: sealLegacy('SAMPLE_KEY', own) },
      ][index % 3]
      texts.set(await insertRow(sql, old ?? (await sealedRow(sql, previous.ring, 'redis', own))), own)
    }
    const done = async () => {
      const [row] = await sql`select count(*)::int as done from platform.databases where version > 1`
      return Number(row?.['done'])
    }
    const legacy = { ...env, PG_META_CRYPTO_KEY: 'SAMPLE_KEY' }
    const stops: number[] = []
    for (let kill = 0; kill < 6; kill++) {
      const goal = (await done()) + 1 + Math.floor(Math.random() * 40)
      const run = startRewrap(legacy, '--batch', '1')
      await eventually(async () => (await done()) >= goal, 20_000)
      run.kill()
      expect((await run.done).killed).toBe(true)
      stops.push(await done())
    }
    expect(stops.at(-1)).toBeLessThan(rows)
    expect(await runRewrap(legacy, '--batch', '1')).toMatchObject({ code: 0, errors: '' })
    expect(await openedRows(sql, current.ring)).toEqual(texts)
    expect([...(await sql`select distinct version::int from platform.databases`)]).toEqual([{ version: 2 }])
    await sql`delete from platform.databases`
  }, 60_000)
})

describe('bun run rewrap without DATABASE_URL', () => {
  test('is refused while the server runs, naming its process, and works when it has stopped', async () => {
    await using folder = await scratchFolder()
    const env = { ...testKeys(), DATA_DIR: folder.path, REDIS_URL: text }
    await using server = startServer({ env })
    const client = clientOf(await server.url, env.BUN_API_KEY)
    const refused = await runRewrap(env)
    expect(refused).toMatchObject({ code: 1, output: '' })
    expect(refused.errors).toBe(
      `bun-api: The data folder ${folder.path} is in use by process ${server.pid}: stop that process or choose another DATA_DIR\n`,
    )
    expect((await client.request('GET', '/api/platform/databases')).status).toBe(200)
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
    const rotated = { ...env, MULTI_DB_CRYPTO_KEY: current.text, MULTI_DB_CRYPTO_KEY_PREVIOUS: env.MULTI_DB_CRYPTO_KEY }
    expect(await runRewrap(rotated)).toMatchObject({ code: 0, last: 'rewrapped: 1, skipped: 0, failed: 0' })
    const { MULTI_DB_CRYPTO_KEY_PREVIOUS: _, ...alone } = rotated
    expect(await runRewrap(alone)).toMatchObject({ code: 0, last: 'rewrapped: 0, skipped: 1, failed: 0' })
  }, 60_000)
})
