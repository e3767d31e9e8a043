import { beforeEach, describe, expect, test } from 'bun:test'
import { createTestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { redisAnswers } from '#test/support/fake-redis-answers.ts'
import { startFakeServer } from '#test/support/fake-servers.ts'
import { redisApp } from '#test/support/redis-app.ts'

type Body = Readonly<Record<string, unknown>>

describeWith('redis', 'the life of a key', (store) => {
  const { app, raw, id, url } = redisApp(store, 5)
  beforeEach(() => raw.flushdb())

  const path = (of = id()) => `/api/platform/redis/${of}/key`
  const patch = (body: Body, more = '', of = id()) => app.request('PATCH', `${path(of)}${more}`, { body })
  const remove = (key: string, more = '', of = id()) =>
    app.request('DELETE', `${path(of)}?key=${encodeURIComponent(key)}${more}`)
  const minute = { changed: true, ttl_ms: expect.closeTo(60_000, -4) as number }
  const inAMinute = () => new Date(Date.now() + 60_000).toISOString()

  describe('PATCH /redis/{databaseId}/key', () => {
    test('200 a TTL from now and until a time, and none again; the value stays', async () => {
      await raw.hset('k', 'a', '1')
      expect((await patch({ key: 'k', ttlMs: 60_000 })).body).toEqual({ key: 'k', change: 'expire', ...minute })
      expect(await raw.pttl('k')).toBeGreaterThan(50_000)
      expect((await patch({ key: 'k', persist: true })).body).toEqual({
        key: 'k',
        change: 'persist',
        changed: true,
        ttl_ms: null,
      })
      expect(await raw.pttl('k')).toBe(-1)
      expect((await patch({ key: 'k', persist: true })).body.changed).toBe(false)
      expect((await patch({ key: 'k', expireAt: inAMinute() })).body).toEqual({ key: 'k', change: 'expire', ...minute })
      expect(await raw.hgetall('k')).toEqual({ a: '1' })
    })

    test('200 a condition: only without a TTL, only with one, only to later, only to earlier', async () => {
      await raw.set('k', 'v')
      const changed = async (condition: string, ttlMs: number) =>
        (await patch({ key: 'k', ttlMs, condition })).body.changed as boolean
      expect(await changed('xx', 60_000)).toBe(false)
      expect(await changed('nx', 60_000)).toBe(true)
      expect(await changed('nx', 60_000)).toBe(false)
      expect(await changed('gt', 30_000)).toBe(false)
      expect(await changed('lt', 30_000)).toBe(true)
      expect(await changed('gt', 90_000)).toBe(true)
      expect(await changed('xx', 10_000)).toBe(true)
      expect((await patch({ key: 'k', expireAt: inAMinute(), condition: 'lt' })).body).toEqual({
        key: 'k',
        change: 'expire',
        changed: false,
        ttl_ms: expect.closeTo(10_000, -4),
      })
    })

    test('200 another name, with the TTL it had', async () => {
      await raw.set('k', 'v', 'PX', 60_000)
      expect((await patch({ key: 'k', rename: { to: 'new' } })).body).toEqual({
        key: 'k',
        change: 'rename',
        to: 'new',
        ...minute,
      })
      expect([await raw.exists('k'), await raw.get('new')]).toEqual([0, 'v'])
    })

    test('409 a name that is taken, unless overwrite is set', async () => {
      await raw.mset({ a: '1', b: '2' })
      const { status, body } = await patch({ key: 'a', rename: { to: 'b' } })
      expect([status, body.error.code, await raw.mget('a', 'b')]).toEqual([409, 'DB_CONFLICT', ['1', '2']])
      expect((await patch({ key: 'a', rename: { to: 'b', overwrite: true } })).body.changed).toBe(true)
      expect(await raw.mget('a', 'b')).toEqual([null, '1'])
    })

    test('200 a copy, in this database and another; 409 over a key that is there, unless replace is set', async () => {
      await raw.zadd('k', 1, 'a')
      await raw.pexpire('k', 60_000)
      expect((await patch({ key: 'k', copy: { to: 'l' } })).body).toEqual({
        key: 'k',
        change: 'copy',
        to: 'l',
        ...minute,
      })
      expect([await raw.zrange('k', '0', '-1'), await raw.zrange('l', '0', '-1')]).toEqual([['a'], ['a']])
      expect((await patch({ key: 'k', copy: { to: 'l' } })).status).toBe(409)
      expect((await patch({ key: 'k', copy: { to: 'l', replace: true } })).status).toBe(200)
      expect((await patch({ key: 'k', copy: { to: 'k', db: 6 } })).status).toBe(200)
      expect((await patch({ key: 'k', copy: { to: 'k', db: 6 } })).status).toBe(409)
      expect((await patch({ key: 'k', copy: { to: 'k', db: 6, replace: true } })).status).toBe(200)
      expect((await patch({ key: 'k', persist: true }, '?db=6')).body).toMatchObject({ changed: true })
      expect((await remove('k', '&db=6')).status).toBe(204)
      expect(await raw.exists('k')).toBe(1)
    })

    const changes: readonly Body[] = [
      { ttlMs: 60_000 },
      { ttlMs: 60_000, condition: 'gt' },
      { expireAt: '2100-01-01T00:00:00+01:00' },
      { persist: true },
      { rename: { to: 'new' } },
      { rename: { to: 'new', overwrite: true } },
      { copy: { to: 'new' } },
      { copy: { to: 'new', db: 6, replace: true } },
    ]
    for (const change of changes) {
      test(`404 of an absent key for ${JSON.stringify(change)}`, async () => {
        await raw.set('new', 'before')
        const { status, body } = await patch({ key: 'absent', ...change })
        expect([status, body.error.code, await raw.get('new')]).toEqual([404, 'NOT_FOUND', 'before'])
      })
    }

    test('200 of keys and names of any bytes', async () => {
      const [from, to] = [Buffer.from([0xff, 0x00]), Buffer.from([0x00, 0xfe, 0x0a])]
      await raw.set(from, 'v')
      const form = (bytes: Buffer) => ({ base64: bytes.toString('base64') })
      const { body } = await patch({ key: form(from), rename: { to: form(to) } })
      expect(body).toMatchObject({ key: form(from), to: form(to), changed: true })
      expect(await raw.get(to)).toBe('v')
      expect((await remove(form(to).base64, '&encoding=base64')).status).toBe(204)
    })

    test('400 the same key as its own copy, and a copy into a database that there is not', async () => {
      await raw.set('k', 'v')
      const same = await patch({ key: 'k', copy: { to: 'k', replace: true } })
      expect([same.status, same.body.error.code]).toEqual([400, 'DB_QUERY_ERROR'])
      const beyond = await patch({ key: 'k', copy: { to: 'k', db: 16 } })
      expect([beyond.status, beyond.body.error.details[0].field]).toEqual([400, 'db'])
    })

    const bad: readonly (readonly [Body, string])[] = [
      [{}, 'ttlMs'],
      [{ ttlMs: 1, persist: true }, 'persist'],
      [{ rename: { to: 'a' }, copy: { to: 'b' } }, 'copy'],
      [{ ttlMs: 0 }, 'ttlMs'],
      [{ ttlMs: 1, condition: 'eq' }, 'condition'],
      [{ persist: true, condition: 'nx' }, 'condition'],
      [{ persist: false }, 'persist'],
      [{ expireAt: '2100-01-01' }, 'expireAt'],
      [{ expireAt: '2001-01-01T00:00:00Z' }, 'expireAt'],
      [{ rename: { to: 5 } }, 'rename.to'],
      [{ rename: { to: 'a', replace: true } }, 'rename.replace'],
      [{ copy: { to: 'a', db: -1 } }, 'copy.db'],
    ]
    for (const [wrong, field] of bad) {
      test(`400 ${JSON.stringify(wrong)} names ${field}`, async () => {
        const { status, body } = await patch({ key: 'k', ...wrong })
        expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
      })
    }

    test('403 every change in a database that is registered read-only', async () => {
      const config = { readOnly: true }
      const { id: readOnly } = await app.register({ name: 'ro', type: 'redis', connectionString: url(), config })
      await raw.set('k', 'v')
      const answers = await Promise.all(changes.map((change) => patch({ key: 'k', ...change }, '', readOnly)))
      answers.push(await remove('k', '', readOnly))
      expect(answers.map(({ status, body }) => [status, body.error.code])).toEqual(
        answers.map(() => [403, 'DB_READ_ONLY']),
      )
      expect([await raw.keys('*'), await raw.pttl('k')]).toEqual([['k'], -1])
    })
  })

  describe('DELETE /redis/{databaseId}/key', () => {
    test('204 a key of any type, 404 once it is gone', async () => {
      await raw.xadd('k', '*', 'a', '1')
      expect((await remove('k')).status).toBe(204)
      expect(await raw.exists('k')).toBe(0)
      const { status, body } = await remove('k')
      expect([status, body.error.code]).toEqual([404, 'NOT_FOUND'])
    })

    test('400 no key, and a key that is no base64 with encoding=base64', async () => {
      expect((await app.request('DELETE', path())).body.error.details[0].field).toBe('key')
      expect((await remove('no base64!', '&encoding=base64')).body.error.details[0].field).toBe('key')
    })
  })
})

describe('a Redis before 6.2 and 7', () => {
  test('400 DB_UNSUPPORTED names the command that it does not have, or not with a condition', async () => {
    await using old = await startFakeServer(
      redisAnswers(({ name, args }) => {
        if (name === 'exists') return ':1'
        if (name === 'pttl') return ':-1'
        if (name === 'command' && args[1] === 'copy') return '*1\r\n*-1'
        if (name === 'command' && args[1] === 'pexpire') return '*1\r\n*2\r\n$7\r\npexpire\r\n:3'
        return undefined
      }),
    )
    await using app = await createTestApp()
    const { id } = await app.register({
      name: 'old',
      type: 'redis',
      connectionString: `redis://127.0.0.1:${old.port}/0`,
    })
    const patch = (body: Body) => app.request('PATCH', `/api/platform/redis/${id}/key`, { body })
    const answers = [
      await patch({ key: 'k', copy: { to: 'l' } }),
      await patch({ key: 'k', ttlMs: 5, condition: 'nx' }),
      await patch({ key: 'k', ttlMs: 5 }),
    ]
    expect(answers.map(({ status, body }) => [status, body.error.code, body.error.details])).toEqual([
      [400, 'DB_UNSUPPORTED', { command: 'copy' }],
      [400, 'DB_UNSUPPORTED', { command: 'pexpire' }],
      [400, 'DB_QUERY_ERROR', { code: 'ERR' }],
    ])
  })
})
