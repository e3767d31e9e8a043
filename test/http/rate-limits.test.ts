import { describe, expect, test } from 'bun:test'
import { createRateLimits, type RateLimits } from '#src/access/rate-limits.ts'
import { anonymous, type ApiKey, serviceKey, type User } from '#src/access/principal.ts'
import { loadConfig } from '#src/config.ts'
import { ApiError } from '#src/errors.ts'
import type { Declaration } from '#src/http/contract.ts'
import { createLog } from '#src/log.ts'

const read: Declaration = { access: 'read', operation: 'read' }
const write: Declaration = { access: 'write', operation: 'write' }
const remove: Declaration = { access: 'write', operation: 'delete' }
const connect: Declaration = { access: 'admin', operation: 'connect' }

const keyOf = (id: string): ApiKey => ({
  kind: 'key',
  id,
  projectId: 'p',
  projectRef: 'default',
  databaseIds: null,
  role: 'admin',
  expiresAt: null,
})
const user: User = { kind: 'user', id: 'one', expiresAt: Number.MAX_SAFE_INTEGER }

function limitsWith(env: Readonly<Record<string, string>> = {}): RateLimits {
  return createRateLimits({ config: loadConfig(env), log: createLog('silent') })
}

/** How often it may be done in a row, and how the one after was refused. */
async function until429(run: () => Promise<unknown> | undefined, most = 1_000) {
  for (let done = 0; done < most; done++) {
    try {
      await run()
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      return { done, status: error.status, code: error.code, headers: error.headers }
    }
  }
  return { done: most }
}

describe('budgets', () => {
  test('a key reads 100 a second and twice that at once; the headers say how much is left', async () => {
    await using limits = limitsWith()
    const one = keyOf('one')
    const first = await limits.check(one, read)
    expect(first).toEqual({ 'ratelimit-policy': '"read";q=200;w=2', ratelimit: '"read";r=199;t=2' })
    const refused = await until429(() => limits.check(one, read))
    expect(refused).toEqual({
      done: 199,
      status: 429,
      code: 'RATE_LIMITED',
      headers: {
        'retry-after': expect.stringMatching(/^[12]$/),
        'ratelimit-policy': '"read";q=200;w=2',
        ratelimit: expect.stringMatching(/^"read";r=0;t=[12]$/),
      },
    })
  })

  test('a key writes 20 a second and twice that at once, deletes with them, and still reads', async () => {
    await using limits = limitsWith()
    const one = keyOf('one')
    let next = write
    const alternately = () => limits.check(one, (next = next === write ? remove : write))
    expect((await until429(alternately)).done).toBe(40)
    expect(await limits.check(one, read)).toMatchObject({ 'ratelimit-policy': '"read";q=200;w=2' })
  })

  test('each key and each user has a budget of its own, also a user with the id of a key', async () => {
    await using limits = limitsWith({ RATE_READ_RPS: '1' })
    const done = []
    for (const principal of [keyOf('one'), keyOf('two'), user])
      done.push((await until429(() => limits.check(principal, read))).done)
    expect(done).toEqual([2, 2, 2])
  })

  test('the budget is full again when Retry-After says so', async () => {
    await using limits = limitsWith({ RATE_READ_RPS: '1' })
    const refused = await until429(() => limits.check(user, read))
    const { promise, resolve } = Promise.withResolvers<void>()
    setTimeout(resolve, Number(refused.headers?.['retry-after']) * 1000)
    await promise
    expect((await until429(() => limits.check(user, read))).done).toBe(2)
  })

  test('connection tests are 10 a minute for each target, and cost a write', async () => {
    await using limits = limitsWith()
    const refused = await until429(() => limits.check(user, connect, 'a:5432'))
    expect(refused).toMatchObject({ done: 10, headers: { 'ratelimit-policy': '"test";q=10;w=60' } })
    expect((await until429(() => limits.check(user, connect, 'b:5432'))).done).toBe(10)
    expect((await until429(() => limits.check(user, write))).done).toBe(18)
  })

  test('the service key has none and is answered at once; neither has anybody by name who has none', async () => {
    await using limits = limitsWith({ RATE_READ_RPS: '1', RATE_WRITE_RPS: '1', RATE_TESTS_PER_MIN: '1' })
    for (const declaration of [read, write, remove, connect]) {
      for (let asked = 0; asked < 1_000; asked++) {
        expect(limits.check(serviceKey, declaration, 'a:5432')).toBeUndefined()
        expect(limits.check(anonymous, declaration)).toBeUndefined()
      }
    }
  })
})

describe('addresses', () => {
  test('an anonymous address has 100 in 15 minutes', async () => {
    await using limits = limitsWith()
    expect(await until429(() => limits.anonymous('192.0.2.1'))).toMatchObject({
      done: 100,
      headers: { 'retry-after': '900', 'ratelimit-policy': '"anonymous";q=100;w=900' },
    })
    expect((await until429(() => limits.anonymous('192.0.2.2'))).done).toBe(100)
  })

  test('a /64 of IPv6 is one address, and an IPv4 address written as IPv6 is that address', async () => {
    await using limits = limitsWith({ RATE_ANONYMOUS_MAX: '3' })
    let host = 0
    const done = [
      (await until429(() => limits.anonymous(`2001:db8:1:2::${(host++).toString(16)}`))).done,
      (await until429(() => limits.anonymous('2001:db8:1:3::1'))).done,
      (await until429(() => limits.anonymous('192.0.2.1'))).done,
      (await until429(() => limits.anonymous('::ffff:192.0.2.1'))).done,
      (await until429(() => limits.anonymous('::FFFF:C000:201'))).done,
    ]
    expect(done).toEqual([3, 3, 3, 0, 0])
  })

  test('a key prefix that failed 10 times from an address is no longer tried from there, but elsewhere and others are', async () => {
    await using limits = limitsWith()
    expect((await until429(() => limits.failed('192.0.2.1', 'bak_one'))).done).toBe(10)
    expect(await until429(() => limits.admit('192.0.2.1', 'bak_one'))).toMatchObject({
      done: 0,
      code: 'RATE_LIMITED',
      headers: { 'retry-after': expect.stringMatching(/^(60|59)$/) },
    })
    expect(await limits.admit('192.0.2.1', 'bak_two')).toBeUndefined()
    expect(await limits.admit('192.0.2.2', 'bak_one')).toBeUndefined()
  })

  test('looking takes nothing', async () => {
    await using limits = limitsWith({ RATE_AUTH_FAILURES_PER_MIN: '1' })
    expect((await until429(() => limits.admit('192.0.2.1', 'bak_one'))).done).toBe(1_000)
  })

  test('ever new prefixes are anonymous requests: 100 of them, and a right key of another prefix is still tried', async () => {
    await using limits = limitsWith()
    let tried = 0
    expect(await until429(() => limits.failed('192.0.2.1', `bak_${tried++}`))).toMatchObject({
      done: 100,
      headers: { 'ratelimit-policy': '"anonymous";q=100;w=900' },
    })
    expect(await limits.admit('192.0.2.1', 'bak_right')).toBeUndefined()
  })

  test('callers with ever new addresses are all counted, in bounded memory', async () => {
    await using limits = limitsWith({ RATE_ANONYMOUS_MAX: '1' })
    const addressOf = (n: number) => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`
    let refused = 0
    for (let n = 0; n < 200_000; n++) await limits.anonymous(addressOf(n)).catch(() => refused++)
    // 65,536 counters of their own and 65,536 that the others share.
    expect(refused).toBeGreaterThan(200_000 - 2 * 65_536)
  })
})
