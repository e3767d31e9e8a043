import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { serviceKey } from '#src/access/principal.ts'
import { createKeyring } from '#src/credentials/keyring.ts'
import { eventually, inRegistry } from '#test/registry/registries.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { startFaultProxy } from '#test/support/fault-proxy.ts'
import { stores } from '#test/support/stores.ts'
import { type Instance, openInstance, wanted } from './api-keys-instance.ts'

let app: TestApp
let one: Instance
let other: Instance
const cleanup = new AsyncDisposableStack()

beforeAll(async () => {
  app = cleanup.use(await createTestApp({ registry: 'postgres18' }))
  one = cleanup.use(openInstance(app))
  other = cleanup.use(openInstance(app))
  await eventually(() => one.changes.live && other.changes.live)
})
afterAll(() => cleanup.disposeAsync())

const create = (more = {}) => one.keys.create(serviceKey, wanted(more))

/** Fails unless the key opens nothing any more at an instance within a second, from memory and from the registry. */
async function expectGone(instance: Instance, secret: string): Promise<void> {
  const started = performance.now()
  await eventually(async () => (await instance.keys.find(secret)) === undefined, 1_000)
  console.log(`noticed after ${Math.round(performance.now() - started)} ms`)
  expect(instance.keys.peek(secret)).toBe(undefined)
}

describe('within a second, on every instance', () => {
  test('a revoked key opens nothing', async () => {
    const { secret, id } = await create()
    for (const instance of [one, other]) expect((await instance.keys.find(secret))?.id).toBe(id)
    await one.keys.revoke(serviceKey, id)
    expect(await one.keys.find(secret)).toBe(undefined)
    await expectGone(other, secret)
  })

  test('a key removed by plain SQL, or with its project', async () => {
    const ref = `p-${randomBytes(6).toString('hex')}`
    const body = { name: 'Short', ref, organizationSlug: 'default' }
    await app.request('POST', '/api/platform/projects', { body })
    const secrets = [(await create()).secret, (await create({ projectRef: ref })).secret]
    const ids = await Promise.all(secrets.map(async (secret) => (await other.keys.find(secret))?.id))
    expect(ids).toEqual([expect.any(String), expect.any(String)])
    await inRegistry(app, async (sql) => {
      await sql`delete from platform.api_keys where id = ${ids[0] ?? ''}`
      await sql`delete from platform.projects where ref = ${ref}`
    })
    for (const secret of secrets) await expectGone(other, secret)
  })

  test('a lesser role, fewer databases and an earlier end, by plain SQL', async () => {
    const { secret, id } = await create({ role: 'admin' })
    expect(await other.keys.find(secret)).toMatchObject({ role: 'admin', databaseIds: null, expiresAt: null })
    await inRegistry(
      app,
      (sql) => sql`update platform.api_keys set role = 'read', database_ids = '{}' where id = ${id}`,
    )
    await eventually(async () => (await other.keys.find(secret))?.role === 'read', 1_000)
    expect(other.keys.peek(secret)).toMatchObject({ role: 'read', databaseIds: [] })
    await inRegistry(app, (sql) => sql`update platform.api_keys set expires_at = now() where id = ${id}`)
    await eventually(async () => (await other.keys.find(secret)) === undefined, 1_000)
    expect(other.keys.peek(secret)).toBe('wrong')
  })

  test('while it is asked for without a pause, a revoked key is refused from then on', async () => {
    const { secret, id } = await create()
    const seen: boolean[] = []
    let asking = true
    const ask = async () => {
      while (asking) {
        seen.push((await other.keys.find(secret)) !== undefined)
        await Bun.sleep(0)
      }
    }
    const asked = Promise.all([ask(), ask(), ask()])
    await eventually(() => seen.length > 20)
    await one.keys.revoke(serviceKey, id)
    await eventually(() => seen.at(-1) === false, 1_000)
    asking = false
    await asked
    expect([seen[0], seen.lastIndexOf(true) < seen.length - 1]).toEqual([true, true])
    expect(await other.keys.find(secret)).toBe(undefined)
  })
})

test('20 uses at once of a key nobody knows yet are one read', async () => {
  const { secret, id } = await create()
  const before = other.reads()
  const found = await Promise.all(Array.from({ length: 20 }, () => other.keys.find(secret)))
  expect([new Set(found.map((key) => key?.id)), other.reads() - before]).toEqual([new Set([id]), 1])
})

test('two instances note the uses of the same 50 keys at once', async () => {
  const made = await Promise.all(Array.from({ length: 50 }, () => create()))
  const at = Date.now()
  const uses = made.map(({ id }) => [id, at] as const)
  for (let round = 0; round < 10; round++)
    await Promise.all([one.store.noteUses(new Map(uses)), other.store.noteUses(new Map(uses.toReversed()))])
  const rows = await one.keys.list(serviceKey, { limit: 1_000 })
  const noted = new Set(made.map(({ id }) => Date.parse(rows.find((row) => row.id === id)?.last_used_at ?? '')))
  expect(noted).toEqual(new Set([at]))
})

describe('with the registry down', () => {
  test('who takes an old answer gets it of a known key, until it expires; an unknown one is 503', async () => {
    const { postgres18 } = stores()
    await using proxy = await startFaultProxy(postgres18.host, postgres18.port)
    const url = new URL(app.deps.config.DATABASE_URL ?? '')
    url.port = String(proxy.port)
    let now = Date.now()
    await using cut = openInstance(app, { url: url.href, now: () => now })
    await eventually(() => cut.changes.live)
    const [known, unknown] = [await create({ expiresAt: new Date(now + 60_000).toISOString() }), await create()]
    await cut.keys.find(known.secret)
    proxy.mode = 'refuse-after-accept'
    proxy.resetAll()
    await eventually(() => !cut.changes.live)
    const ages: number[] = []
    const asker = { stale: (seconds: number) => void ages.push(seconds) }
    const ask = (secret: string) => cut.keys.find(secret, asker).catch((error) => error.code)
    expect([await ask(known.secret), await ask(unknown.secret)]).toEqual([
      expect.objectContaining({ id: known.id }),
      'REGISTRY_UNAVAILABLE',
    ])
    expect(ages).toEqual([expect.any(Number)])
    expect(await ask(known.secret.replace(/.{3}$/, 'AAA'))).toBe(undefined)
    now += 60_000
    expect(await ask(known.secret)).toBe(undefined)
  })

  test('503, never open: neither a key that is known, nor one that is not; and again when it is back', async () => {
    const { postgres18 } = stores()
    await using proxy = await startFaultProxy(postgres18.host, postgres18.port)
    const url = new URL(app.deps.config.DATABASE_URL ?? '')
    url.port = String(proxy.port)
    await using cut = openInstance(app, { url: url.href, gatherMs: 10 })
    await eventually(() => cut.changes.live)
    const [known, unknown] = [await create(), await create()]
    expect((await cut.keys.find(known.secret))?.id).toBe(known.id)
    proxy.mode = 'refuse-after-accept'
    proxy.resetAll()
    await eventually(() => !cut.changes.live)
    const ask = () =>
      Promise.all([known, unknown].map(({ secret }) => cut.keys.find(secret).catch((error) => error.code)))
    expect([await ask(), cut.keys.peek(known.secret)]).toEqual([
      ['REGISTRY_UNAVAILABLE', 'REGISTRY_UNAVAILABLE'],
      undefined,
    ])
    proxy.mode = 'pass'
    await eventually(async () =>
      Bun.deepEquals(
        (await ask()).map((key) => key?.id),
        [known.id, unknown.id],
      ),
    )
    expect([...cut.logLines, ...one.logLines].filter((line) => /bak_[a-z2-7]{12}_/.test(line))).toEqual([])
  })

  test('uses that can not be noted are one warning, and are noted when it is back', async () => {
    const { postgres18 } = stores()
    await using proxy = await startFaultProxy(postgres18.host, postgres18.port)
    const url = new URL(app.deps.config.DATABASE_URL ?? '')
    url.port = String(proxy.port)
    let now = Date.now()
    await using cut = openInstance(app, { url: url.href, gatherMs: 10, now: () => now })
    await eventually(() => cut.changes.live)
    const { secret, id } = await create()
    const used = async () =>
      (await one.keys.list(serviceKey, { limit: 1_000 })).find((row) => row.id === id)?.last_used_at
    await cut.keys.find(secret)
    await eventually(async () => typeof (await used()) === 'string')
    const before = await used()
    now += 60_000
    expect(cut.keys.peek(secret)).toMatchObject({ id })
    proxy.mode = 'refuse-after-accept'
    proxy.resetAll()
    const warnings = () => cut.logLines.filter((line) => line.includes('uses of API keys are not noted'))
    await eventually(() => warnings().length === 1)
    const { connections } = proxy
    await eventually(() => proxy.connections > connections + 5)
    expect([warnings().length, await used()]).toEqual([1, before as string])
    proxy.mode = 'pass'
    await eventually(async () => Date.parse((await used()) ?? '') === now)
  })
})

describe('rotation of MULTI_DB_CRYPTO_KEY', () => {
  const [older, newer] = [randomBytes(32), randomBytes(32)]

  test('a key opens under the previous key, is moved to the current one by its use, and then outlives the old one', async () => {
    await using before = openInstance(app, { keyring: await createKeyring({ current: older }) })
    const { secret, id } = await before.keys.create(serviceKey, wanted())
    const kept = async () => {
      const [row] = await inRegistry(app, (sql) => sql`select kid, hash from platform.api_keys where id = ${id}`)
      return row as unknown as { kid: string; hash: string }
    }
    const first = await kept()
    const rotating = await createKeyring({ current: newer, previous: [older] })
    await using during = openInstance(app, { keyring: rotating })
    expect((await during.keys.find(secret))?.id).toBe(id)
    await eventually(async () => (await kept()).kid === rotating.current().kid)
    expect((await kept()).hash).not.toBe(first.hash)
    await using after = openInstance(app, { keyring: await createKeyring({ current: newer }) })
    expect([(await after.keys.find(secret))?.id, (await during.keys.find(secret))?.id]).toEqual([id, id])
    // An instance that does not know the new key yet has it among the previous ones.
    await using behind = openInstance(app, { keyring: await createKeyring({ current: older, previous: [newer] }) })
    expect((await behind.keys.find(secret))?.id).toBe(id)
  })

  test('under a key that is gone it opens nothing, and the log names its prefix', async () => {
    await using before = openInstance(app, { keyring: await createKeyring({ current: older }) })
    const { secret, prefix } = await before.keys.create(serviceKey, wanted())
    await using after = openInstance(app, { keyring: await createKeyring({ current: newer }) })
    await eventually(() => after.changes.live)
    expect(await after.keys.find(secret)).toBe(undefined)
    expect(
      after.logLines.filter((line) => line.includes('sealing key that is gone') && line.includes(prefix)),
    ).toHaveLength(1)
  })

  test('the pepper is a key of its own: no MAC of another purpose is the hash', async () => {
    const { secret, id } = await create()
    const [row] = await inRegistry(app, (sql) => sql`select hash from platform.api_keys where id = ${id}`)
    const { keyring } = app.deps
    const others = ['cursor', 'kid', '', 'api-keys'].map((purpose) => keyring.mac(purpose, secret))
    expect([keyring.mac('api-key', secret), others.includes(String(row?.['hash']))]).toEqual([row?.['hash'], false])
  })
})
