import { afterAll, beforeAll, expect, test } from 'bun:test'
import { describeWith } from '#test/support/describe-with.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { type OwnRedis, startOwnRedis } from '#test/faults/own-redis.ts'

const members = 200_000

describeWith('redis', 'commands that walk over large values', () => {
  let server: OwnRedis
  let app: TestApp
  let id: string

  beforeAll(async () => {
    server = await startOwnRedis()
    app = await createTestApp({ env: { REQUEST_TIMEOUT_MS: '3000' } })
    id = (await app.register({ name: 'own', type: 'redis', connectionString: server.url })).id
    await server.use(async (redis) => {
      const fill = "for n = 1, ARGV[1] do redis.call('SADD', KEYS[1], 'member ' .. n) end"
      for (const key of ['one', 'other']) await redis.call('EVAL', fill, 1, key, members)
      await redis.sadd('few', 'a', 'b')
    })
  }, 30_000)
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
  })

  const post = (route: string, body: unknown) => app.request('POST', `/api/platform/redis/${id}/${route}`, { body })

  /** How long others wait at most, in milliseconds, while work goes on, and what it came to. */
  async function besides<T>(work: Promise<T>): Promise<readonly [worst: number, result: T]> {
    let isOver = false
    const ended = work.finally(() => (isOver = true))
    const worst = await server.use(async (redis) => {
      let longest = 0
      do {
        const began = performance.now()
        await redis.ping()
        longest = Math.max(longest, performance.now() - began)
      } while (!isOver)
      return longest
    })
    return [worst, await ended]
  }

  const calls = (name: string) =>
    server.use(async (redis) =>
      Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(await redis.info('commandstats'))?.[1] ?? 0),
    )

  test('400 a random count that would take Redis half a minute, which never gets there', async () => {
    const [worst, answer] = await besides(post('command', { command: ['SRANDMEMBER', 'few', '-90000000'] }))
    expect([answer.status, answer.body.error.code, await calls('srandmember')]).toEqual([400, 'VALIDATION_FAILED', 0])
    expect(worst).toBeLessThan(1_000)
  })

  test('a long pipeline lets others have their turn, and ends with its time', async () => {
    const [worst, answer] = await besides(post('pipeline', { commands: Array(500).fill(['SDIFF', 'one', 'other']) }))
    expect([answer.status, answer.body.error.code]).toEqual([504, 'DB_TIMEOUT'])
    expect(worst).toBeLessThan(2_000)
    const ran = await calls('sdiff')
    expect(ran).toBeGreaterThan(0)
    expect(ran).toBeLessThan(400)
  }, 30_000)

  test('400 a transaction of many, and not one of them runs', async () => {
    const before = await calls('sdiff')
    const commands = Array(33).fill(['SDIFF', 'one', 'other'])
    const { status, body } = await post('transaction', { commands })
    const rule = 'must have at most 32 that Redis does not call fast; POST pipeline takes more'
    expect([status, body.error.code, body.error.details]).toEqual([
      400,
      'VALIDATION_FAILED',
      [{ field: 'commands', rule }],
    ])
    expect(await calls('sdiff')).toBe(before)
  })

  test('200 a transaction of a thousand fast ones', async () => {
    const { body } = await post('transaction', { commands: Array(1_000).fill(['INCR', 'counter']) })
    expect(body.results.at(-1)).toEqual({ result: 1_000 })
  })

  test('a pipeline in parts has every reply at its place', async () => {
    const commands = Array.from({ length: 700 }, (_, n) => (n % 3 === 0 ? ['SCARD', 'one'] : ['ECHO', `own ${n}`]))
    const { body } = await post('pipeline', { commands })
    expect(body.results).toEqual(
      Array.from({ length: 700 }, (_, n) => ({ result: n % 3 === 0 ? members : `own ${n}` })),
    )
  })
})
