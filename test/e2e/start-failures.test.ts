import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createScratchDatabase } from '#test/support/app.ts'
import { listenOnLoopback } from '#test/support/ports.ts'
import { canary, stores } from '#test/support/stores.ts'
import { productionEnvironment, startServer } from './server.ts'

const published = '3b34c406cca1217f7762867a75bf89e8a14bf8adbd29bea4ff874990131b7521'

describe('a server that can not start', () => {
  let registry: Awaited<ReturnType<typeof createScratchDatabase>>
  let good: Record<string, string>
  beforeAll(async () => {
    registry = await createScratchDatabase(stores().postgres18)
    good = productionEnvironment(registry.url)
  })
  afterAll(() => registry[Symbol.asyncDispose]())

  const without = (name: string) => {
    const { [name]: _, ...env } = good
    return env
  }
  const withValues = (values: Record<string, string>) => ({ ...good, ...values })

  const faults: readonly (readonly [string, () => Record<string, string>, RegExp])[] = [
    ['without a sealing key', () => without('MULTI_DB_CRYPTO_KEY'), /MULTI_DB_CRYPTO_KEY: is required/],
    [
      'with a short sealing key',
      () => withValues({ MULTI_DB_CRYPTO_KEY: 'abc123' }),
      /MULTI_DB_CRYPTO_KEY: .*32 bytes/,
    ],
    ['with a published sealing key', () => withValues({ MULTI_DB_CRYPTO_KEY: published }), /CRYPTO_KEY: .*published/],
    ['with SAMPLE_KEY', () => withValues({ MULTI_DB_CRYPTO_KEY: 'SAMPLE_KEY' }), /MULTI_DB_CRYPTO_KEY: .*example/],
    ['with 32 zero bytes', () => withValues({ MULTI_DB_CRYPTO_KEY: '0'.repeat(64) }), /_CRYPTO_KEY: .*predictable/],
    ['without a service key', () => without('BUN_API_KEY'), /BUN_API_KEY: is required/],
    ['with a short service key', () => withValues({ BUN_API_KEY: 'Zx81-short' }), /BUN_API_KEY: .*32 characters/],
    [
      'with an example service key',
      () => withValues({ BUN_API_KEY: 'your-api-key-32-chars-xxxxxxxxxx' }),
      /BUN_API_KEY: .*example/,
    ],
    ['with a published service key', () => withValues({ BUN_API_KEY: published }), /BUN_API_KEY: .*published/],
    [
      'with the wrong registry scheme',
      () => withValues({ DATABASE_URL: `mysql://a:${canary}@127.0.0.1/x` }),
      /DATABASE_URL: must begin/,
    ],
    [
      'with a refused registry option',
      () => withValues({ DATABASE_URL: `${registry.url}?host=/tmp` }),
      /DATABASE_URL: .*option host/,
    ],
    ['with two faults', () => withValues({ PORT: 'x', LOG_LEVEL: 'loud' }), /PORT: .*; LOG_LEVEL: /],
  ]
  for (const [name, env, expected] of faults) {
    test(`exits 78 ${name}, with one line and no port`, async () => {
      await using server = startServer({ env: env() })
      const code = await server.exited
      const lines = server.errors().trimEnd().split('\n')
      expect({ code, log: server.lines, lines }).toEqual({
        code: 78,
        log: [],
        lines: [expect.stringMatching(expected)],
      })
      for (const value of [canary, published, 'abc123', 'Zx81-short', '0000']) expect(lines[0]).not.toContain(value)
    })
  }

  test("exits 78 when the key ring opens none of the registry's canaries, and takes a previous key that does", async () => {
    await using own = await createScratchDatabase(stores().postgres18)
    const first = productionEnvironment(own.url)
    {
      await using server = startServer({ env: first })
      await server.url
    }
    const second = { ...productionEnvironment(own.url), BUN_API_KEY: first.BUN_API_KEY }
    {
      await using server = startServer({ env: second })
      expect({ code: await server.exited, errors: server.errors() }).toEqual({
        code: 78,
        errors: expect.stringMatching(/^bun-api: .*MULTI_DB_CRYPTO_KEY: opens none of the registry's rows.*\n$/),
      })
      expect(server.lines.join()).not.toContain('listening')
    }
    await using server = startServer({
      env: { ...second, MULTI_DB_CRYPTO_KEY_PREVIOUS: first.MULTI_DB_CRYPTO_KEY },
    })
    expect(await server.url).toStartWith('http')
  }, 40_000)

  test('exits 1 with one line when the registry does not answer', async () => {
    await using closed = createServer()
    const port = await listenOnLoopback(closed)
    await new Promise((resolve) => closed.close(resolve))
    await using server = startServer({
      env: withValues({ DATABASE_URL: `postgres://u:${canary}@127.0.0.1:${port}/registry` }),
    })
    expect({ code: await server.exited, log: server.lines, errors: server.errors() }).toEqual({
      code: 1,
      log: [],
      errors: expect.stringMatching(/^bun-api: The registry .*\n$/),
    })
    expect(server.errors()).not.toContain(canary)
  })

  test('exits 1 with one line when the registry refuses the password', async () => {
    const url = new URL(registry.url)
    url.password = `${canary}-wrong`
    await using server = startServer({ env: withValues({ DATABASE_URL: url.href }) })
    expect({ code: await server.exited, errors: server.errors() }).toEqual({
      code: 1,
      errors: expect.stringMatching(/^bun-api: The registry .*password.*\n$/),
    })
    expect(server.errors()).not.toContain(canary)
  })

  test('exits 1 with one line when its port is taken', async () => {
    await using taken = createServer()
    const port = await listenOnLoopback(taken)
    await using server = startServer({ env: withValues({ PORT: String(port) }) })
    expect({ code: await server.exited, errors: server.errors() }).toEqual({
      code: 1,
      errors: `bun-api: Port ${port} on 127.0.0.1 is in use: set PORT or HOST.\n`,
    })
  })

  test('exits 1 with one line when its address is not of this machine', async () => {
    await using server = startServer({ env: withValues({ HOST: '192.0.2.1' }) })
    expect({ code: await server.exited, errors: server.errors() }).toEqual({
      code: 1,
      errors: expect.stringMatching(/^bun-api: Port 0 on 192\.0\.2\.1 can't be listened on.*: set PORT or HOST\.\n$/),
    })
  })

  for (const [name, spoil, expected] of [
    ['is no folder', async (path: string) => Bun.write(path, 'a file'), /^bun-api: The data folder .* can't be used/],
    [
      'holds damaged keys',
      async (path: string) => Bun.write(join(path, 'keys.json'), `{"apiKey":"${canary}`),
      /^bun-api: .*keys\.json is damaged/,
    ],
  ] as const) {
    test(`exits 1 with one line when DATA_DIR ${name}`, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'bun-api-e2e-'))
      await spoil(join(folder, 'data'))
      await using server = startServer({ env: { DATA_DIR: join(folder, 'data') } })
      expect({ code: await server.exited, errors: server.errors() }).toEqual({
        code: 1,
        errors: expect.stringMatching(expected),
      })
      expect(server.errors().trimEnd().split('\n')).toHaveLength(1)
      expect(server.errors()).not.toContain(canary)
      await rm(folder, { recursive: true })
    })
  }
})

describe('bun run migrate', () => {
  const migrate = join(import.meta.dir, '..', '..', 'scripts', 'migrate.ts')

  test('brings the registry up to date and ends, twice', async () => {
    await using registry = await createScratchDatabase(stores().postgres18)
    const env = productionEnvironment(registry.url)
    for (const applied of [1, 0]) {
      await using run = startServer({ env, command: [migrate] })
      expect({ code: await run.exited, errors: run.errors(), last: run.lines.at(-1) }).toEqual({
        code: 0,
        errors: '',
        last: 'The registry is up to date.',
      })
      expect(run.lines.filter((line) => line.includes('"migrated"'))).toHaveLength(applied)
    }
  }, 30_000)

  test('exits 78 with one line on a wrong configuration', async () => {
    await using run = startServer({ env: { PORT: 'x' }, command: [migrate] })
    expect({ code: await run.exited, errors: run.errors() }).toEqual({
      code: 78,
      errors: expect.stringMatching(/^bun-api: The configuration is not valid: PORT: .*\n$/),
    })
  })
})
