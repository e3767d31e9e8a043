import { describe, expect, test } from 'bun:test'
import { describeRegistries, inRegistry, newName } from './registries.ts'
import type { Claim, Claimed } from '#src/registry/idempotency-store.ts'

const staleMs = 60_000

function claimedOf(claim: Claim): Claimed {
  if (claim.state !== 'new') throw new Error(`the key was not taken: ${claim.state}`)
  return claim.claimed
}

describe('platform.idempotency_keys', () => {
  describeRegistries('the store', (app) => {
    const store = () => app().deps.idempotencyKeys
    const claim = (key: string, hash = 'hash', scope = 'scope') => store().claim(scope, key, hash, staleMs)
    const setBack = (key: string, interval: string) =>
      inRegistry(
        app(),
        (sql) =>
          sql`update platform.idempotency_keys set created_at = now() - ${interval}::text::interval where key = ${key}`,
      )
    const count = (key: string) =>
      inRegistry(app(), async (sql) => (await sql`select 1 from platform.idempotency_keys where key = ${key}`).length)

    test('a key is new once, then running, then done', async () => {
      const key = newName()
      const claimed = claimedOf(await claim(key))
      expect([await claim(key), await claim(key, 'other')]).toEqual([{ state: 'running' }, { state: 'other-body' }])
      await store().complete(claimed, { status: 201, sealed: { kid: 'none', value: 'sealed' } })
      const done = { state: 'done', status: 201, answer: 'sealed' } as const
      expect([await claim(key), await claim(key, 'other')]).toEqual([done, { state: 'other-body' }])
      const elsewhere = await claim(key, 'other', 'another scope')
      expect(elsewhere.state).toBe('new')
    })

    test('a key that was given back is new again', async () => {
      const key = newName()
      await store().release(claimedOf(await claim(key)))
      expect([await count(key), (await claim(key, 'other')).state]).toEqual([0, 'new'])
    })

    test('of 20 at once one gets it', async () => {
      const key = newName()
      const claims = await Promise.all(Array.from({ length: 20 }, () => claim(key)))
      expect(claims.map(({ state }) => state).toSorted()).toEqual(['new', ...Array(19).fill('running')])
    })

    test('taken over after its time, by the same body alone; who was taken for dead changes nothing more', async () => {
      const key = newName()
      const dead = claimedOf(await claim(key))
      await setBack(key, '2 minutes')
      expect((await claim(key, 'other')).state).toBe('other-body')
      const claimed = claimedOf(await claim(key))
      await store().complete(dead, { status: 500, sealed: null })
      await store().release(dead)
      expect(await claim(key)).toEqual({ state: 'running' })
      await store().complete(claimed, { status: 200, sealed: null })
      await store().release(claimed)
      expect(await claim(key)).toEqual({ state: 'done', status: 200, answer: null })
    })

    test('free for any body after 24 hours, and kept until then', async () => {
      const key = newName()
      await store().complete(claimedOf(await claim(key)), { status: 200, sealed: null })
      await setBack(key, '23 hours 59 minutes')
      expect((await claim(key)).state).toBe('done')
      await setBack(key, '24 hours 1 minute')
      expect((await claim(key, 'other')).state).toBe('new')
    })

    test('old keys are removed as new ones are taken', async () => {
      const [old, young] = [newName(), newName()]
      await claim(old)
      await claim(young)
      await setBack(old, '25 hours')
      for (let index = 0; index < 100; index++) await claim(newName())
      expect([await count(old), await count(young)]).toEqual([0, 1])
    })

    test('each sealing of an answer is counted for its key', async () => {
      const { kid } = app().deps.keyring.current()
      const seals = () =>
        inRegistry(app(), async (sql) => {
          const [row] = await sql`select seals::int from platform.key_canaries where kid = ${kid}`
          return Number(row?.['seals'])
        })
      const before = await seals()
      const key = newName()
      await store().complete(claimedOf(await claim(key)), { status: 200, sealed: { kid, value: 'sealed' } })
      expect((await seals()) - before).toBe(1)
    })
  })
})
