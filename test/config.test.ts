import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { ConfigError, environment, loadConfig, takeEnvironment } from '#src/config.ts'

const root = join(import.meta.dir, '..')
const key = () => randomBytes(32).toString('hex')
const production = () => ({
  DATABASE_URL: 'postgres://user:password@registry.internal/bun_api',
  MULTI_DB_CRYPTO_KEY: key(),
  BUN_API_KEY: key(),
})
const published = '3b34c406cca1217f7762867a75bf89e8a14bf8adbd29bea4ff874990131b7521'

function problemsOf(env: Readonly<Record<string, string>>): readonly string[] {
  try {
    loadConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('the environment', () => {
  const wrong: readonly (readonly [string, ...(readonly string[])])[] = [
    ['PORT', '-1', '65536', '3e3', '0x50', '3000.5', 'Infinity', 'http'],
    ['LOG_LEVEL', 'verbose', 'INFO'],
    ['CORS_ORIGINS', '*', 'a.example', 'https://a.example/', 'https://a.example,*', 'https://*.example.com'],
    ['BUN_API_URL', 'bun-api.example.com', 'ftp://bun-api.example.com'],
    ['DATABASE_REPLICA_URL', 'mysql://replica'],
    ['CACHE_REDIS_URL', 'http://cache'],
    ['CACHE_TTL', '3601', 'a minute'],
    [
      'BUN_API_KEY',
      'short',
      'x'.repeat(40),
      'your-secret-api-key-of-32-characters',
      `${'k3Y-'.repeat(9)} x`,
      published,
    ],
    ['BUN_API_KEY_PREVIOUS', 'short', published],
    ['MULTI_DB_CRYPTO_KEY', 'short', '0'.repeat(64), 'SAMPLE_KEY', published, 'a'.repeat(43)],
    ['MULTI_DB_CRYPTO_KEY_PREVIOUS', published, `${key()},short`, 'short,shorter'],
    ['REDIS_CRYPTO_KEY', 'short'],
    ['MONGODB_CRYPTO_KEY', 'short'],
    ['REDIS_URL', 'http://127.0.0.1', 'unix:///tmp/x.sock'],
    ['MONGODB_URL', 'postgres://127.0.0.1'],
    ['ENABLE_REDIS_MANAGEMENT', 'yes please', 'off', '2'],
    ['EGRESS_ALLOW', 'not/a/range', '10.0.0.0/33', '10.0.0.1,?'],
    ['EGRESS_DENY', '::gg'],
    ['POSTGRES_MAX_POOL_SIZE', '0', '101'],
    ['REQUEST_TIMEOUT_MS', '499', '120001', '10s'],
    ['MAX_SEALS_PER_KEY', '0', '4294967297'],
    ['SUPABASE_JWT_SECRET', 'short'],
    ['JWKS_URL', 'file:///etc/passwd'],
    ['AUDIT_READS', 'never'],
    ['PG_META_TRUST_CRYPTO_KEY', 'maybe'],
  ]
  for (const [name, ...values] of wrong) {
    test(`one problem that names ${name} and not its value`, () => {
      for (const value of values) {
        const problems = problemsOf({ [name]: value })
        expect({ value, problems }).toEqual({
          value,
          problems: [expect.stringMatching(new RegExp(`^${name}: \\S.{5,}`))],
        })
        if (value.length > 3) expect(problems[0]).not.toContain(value)
      }
    })
  }

  test('all problems come in one message', () => {
    const env = { PORT: 'x', LOG_LEVEL: 'x', EGRESS_ALLOW: 'a/b', DATABASE_URL: 'mysql://a' }
    const problems = problemsOf(env)
    expect(problems.map((problem) => problem.split(':')[0]).sort()).toEqual([
      'BUN_API_KEY',
      'DATABASE_URL',
      'EGRESS_ALLOW',
      'LOG_LEVEL',
      'MULTI_DB_CRYPTO_KEY',
      'PORT',
    ])
    expect(() => loadConfig(env)).toThrow(`The configuration is not valid: ${problems.join('; ')}`)
  })

  test('empty and blank mean unset', () => {
    const blank = Object.fromEntries(Object.keys(environment.shape).map((name, index) => [name, ' '.repeat(index % 3)]))
    expect(loadConfig(blank)).toEqual(loadConfig({}))
  })

  test('variables it does not know are left alone', () => {
    expect(loadConfig({ PATH: '/bin', NODE_ENV: 'production' })).toEqual(loadConfig({}))
  })

  test('can not be changed afterwards', () => {
    expect(Object.isFrozen(loadConfig({}))).toBe(true)
  })

  test('numbers, flags and lists come parsed', () => {
    const env = {
      PORT: '8080',
      ENABLE_REDIS_MANAGEMENT: '0',
      CORS_ORIGINS: ' https://a.example , http://localhost:3000 ',
    }
    expect(loadConfig(env)).toMatchObject({
      PORT: 8080,
      ENABLE_REDIS_MANAGEMENT: false,
      CORS_ORIGINS: ['https://a.example', 'http://localhost:3000'],
    })
  })
})

describe('production', () => {
  for (const name of ['MULTI_DB_CRYPTO_KEY', 'BUN_API_KEY']) {
    test(`needs ${name}`, () => {
      const { [name]: _, ...rest } = production() as Record<string, string>
      expect(problemsOf(rest)).toEqual([`${name}: is required with DATABASE_URL`])
    })
  }

  test('is where a DATABASE_URL is, and listens on every address, IPv6 included', () => {
    expect(loadConfig(production())).toMatchObject({ mode: 'production', hostname: '::' })
  })

  test('takes the key as hex, base64 and base64url, as the same bytes', () => {
    const bytes = randomBytes(32)
    const keys = (['hex', 'base64', 'base64url'] as const).map(
      (encoding) => loadConfig({ ...production(), MULTI_DB_CRYPTO_KEY: bytes.toString(encoding) }).MULTI_DB_CRYPTO_KEY,
    )
    expect(keys).toEqual([Uint8Array.from(bytes), Uint8Array.from(bytes), Uint8Array.from(bytes)])
  })
})

describe('embedded mode', () => {
  test('needs nothing, and listens on loopback', () => {
    expect(loadConfig({})).toMatchObject({ mode: 'embedded', hostname: '127.0.0.1', PORT: 3000, DATA_DIR: '.data' })
  })

  for (const [mode, env] of [
    ['embedded', {}],
    ['production', production()],
  ] as const) {
    test(`HOST decides in ${mode} mode`, () => {
      expect(loadConfig({ ...env, HOST: '0.0.0.0' })).toMatchObject({ mode, hostname: '0.0.0.0' })
    })
  }
})

describe('takeEnvironment', () => {
  test("takes libpq's variables away from the process, and no other", () => {
    const env: Record<string, string | undefined> = { PGPASSWORD: 'a', PGHOST: 'b', PG_META_CRYPTO_KEY: 'c', PORT: '1' }
    const taken = takeEnvironment(env)
    expect({ env, taken }).toEqual({
      env: { PG_META_CRYPTO_KEY: 'c', PORT: '1' },
      taken: { PGPASSWORD: 'a', PGHOST: 'b', PG_META_CRYPTO_KEY: 'c', PORT: '1' },
    })
  })
})

describe('.env.example', async () => {
  const text = await Bun.file(join(root, '.env.example')).text()
  const entries = [...text.matchAll(/^(# )?([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(([, , name = '', value = '']) => ({
    name,
    value,
  }))

  test('names every variable of the schema once, and no other', () => {
    expect(entries.map(({ name }) => name).sort()).toEqual(Object.keys(environment.shape).sort())
  })

  test('explains each in the line above it', () => {
    const lines = text.split('\n')
    const bare = entries.filter(({ name }) => {
      const index = lines.findIndex((line) => new RegExp(`^(# )?${name}=`).test(line))
      return !/^# [A-Z].{5,}[.)]$/.test(lines[index - 1] ?? '')
    })
    expect(bare).toEqual([])
  })

  test('marks what nothing reads yet, and only that', async () => {
    const files = [...new Bun.Glob('{src,routes}/**/*.ts').scanSync(root)].filter((path) => path !== 'src/config.ts')
    const code = (await Promise.all(files.map((path) => Bun.file(join(root, path)).text()))).join('\n')
    const marked = [...text.matchAll(/\(no effect yet\)\n(?:# )?(\w+)=/g)].map(([, name = '']) => name)
    const decided = ['HOST', 'DATABASE_URL']
    const unread = entries.filter(({ name }) => !new RegExp(`\\b${name}\\b`).test(code) && !decided.includes(name))
    expect(marked).toEqual(unread.map(({ name }) => name))
  })

  test('holds no value that works as a key', () => {
    const secret = /(KEY|KEY_PREVIOUS|SECRET)$/
    expect(entries.filter(({ name, value }) => secret.test(name) && !/TRUST|SEALS/.test(name) && value !== '')).toEqual(
      [],
    )
  })

  test('is valid as it stands, with every commented value', () => {
    const env = Object.fromEntries(entries.map(({ name, value }) => [name, value]))
    expect(problemsOf({ ...env, DATABASE_URL: '' })).toEqual([])
    expect(problemsOf({ ...env, ...production() })).toEqual([])
  })

  test('shows the defaults as they are', () => {
    const shown = Object.fromEntries(
      entries.filter(({ value }) => value !== '').map(({ name, value }) => [name, value]),
    )
    const examples = ['HOST', 'CORS_ORIGINS', 'BUN_API_URL', 'DATABASE_URL', 'DATABASE_REPLICA_URL', 'CACHE_REDIS_URL']
    const more = ['REDIS_URL', 'MONGODB_URL', 'EGRESS_ALLOW', 'EGRESS_DENY', 'TRUST_PROXY', 'SUPABASE_URL', 'JWKS_URL']
    for (const name of [...examples, ...more, 'JWT_ISSUER', 'PG_META_DATABASE', 'ERROR_WEBHOOK_URL']) delete shown[name]
    expect(loadConfig(shown)).toEqual(loadConfig({}))
  })
})
