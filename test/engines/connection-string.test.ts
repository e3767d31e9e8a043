import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { Engine } from '#src/engines/engine.ts'
import { engines } from '#src/engines/index.ts'
import { formatTarget, maskTarget, parseTarget, type TargetDescription, targetFromFields } from '#src/engines/target.ts'
import { ApiError } from '#src/errors.ts'

const { redis, postgres } = engines

function read(engine: Engine, text: string, config = {}): TargetDescription {
  return parseTarget(engine, text, config)
}

function refusal(engine: Engine, text: string, config = {}): ApiError {
  try {
    read(engine, text, config)
  } catch (error) {
    if (error instanceof ApiError) return error
    throw error
  }
  throw new Error('was not refused')
}

describe('the example connection strings of the platform', () => {
  const plain = { tls: 'off', options: {}, config: {}, warnings: [] } as const
  const postgresAt = (host: string, port: number, database: string) =>
    ({
      kind: 'postgres',
      protocol: 'postgresql:',
      host,
      port,
      hosts: [{ host, port }],
      database,
      user: 'postgres',
      password: 'password',
      ...plain,
    }) as const
  const redisAt = (host: string, port: number, user: string | null) =>
    ({
      kind: 'redis',
      protocol: 'redis:',
      host,
      port,
      hosts: [{ host, port }],
      database: '0',
      user,
      password: 'password',
      ...plain,
    }) as const

  const examples: readonly (readonly [Engine, string, TargetDescription])[] = [
    [
      postgres,
      'postgresql://postgres:password@postgres.railway.internal:5432/database',
      postgresAt('postgres.railway.internal', 5432, 'database'),
    ],
    [
      postgres,
      'postgresql://postgres:password@roundhouse.proxy.rlwy.net:12345/database',
      postgresAt('roundhouse.proxy.rlwy.net', 12345, 'database'),
    ],
    [
      postgres,
      'postgresql://postgres:password@db.project.supabase.co:5432/postgres',
      postgresAt('db.project.supabase.co', 5432, 'postgres'),
    ],
    [redis, 'redis://default:password@redis.railway.internal:6379', redisAt('redis.railway.internal', 6379, 'default')],
    [
      redis,
      'redis://default:password@redis-production.up.railway.app:6379',
      redisAt('redis-production.up.railway.app', 6379, 'default'),
    ],
    [redis, 'redis://:password@redis-12345.rediscloud.com:12345', redisAt('redis-12345.rediscloud.com', 12345, null)],
    [
      redis,
      'rediss://:password@redis-12345.rediscloud.com:12345',
      { ...redisAt('redis-12345.rediscloud.com', 12345, null), protocol: 'rediss:', tls: 'full' },
    ],
  ]
  for (const [engine, text, expected] of examples) test(text, () => expect(read(engine, text)).toEqual(expected))

  test('the example configuration of a Redis database is taken', () => {
    const config = { maxmemory: '256mb', maxmemory_policy: 'allkeys-lru', databases: 16 }
    expect(redis.config.safeParse(config).success).toBe(true)
  })
})

describe('what is absent', () => {
  test('is the default port, the database postgres and no password', () => {
    expect(read(postgres, 'postgres://u@h')).toMatchObject({
      port: 5432,
      database: 'postgres',
      user: 'u',
      password: null,
    })
    expect(read(redis, 'redis://h')).toMatchObject({ port: 6379, database: '0', user: null, password: null })
  })

  test('400 for PostgreSQL without a user, whose name would be the system user’s', () => {
    expect(refusal(postgres, 'postgres://h/d').message).toContain('must name the user')
  })
})

describe('refused options', () => {
  const secretive = 'v4lu3'
  const ofRedis = `
    path commandTimeout connectTimeout host port db password username tls sentinels name
    retryStrategy lazyConnect enableOfflineQueue keyPrefix readOnly Connector __proto__
  `
  const ofPostgres = `
    statement_timeout options search_path replication max ssl sslrootcert sslcert sslkey
    sslpassword host hostaddr port user password dbname path service passfile
    default_transaction_read_only target_session_attrs proxyHost socket krbsrvname fetch_types role
    session_authorization client_encoding constructor __proto__ toString
  `
  const options = [
    [redis, ofRedis.trim().split(/\s+/)],
    [postgres, ofPostgres.trim().split(/\s+/)],
  ] as const
  for (const [engine, names] of options) {
    for (const name of names) {
      test(`400 names ${name} of ${engine.kind} and never its value`, () => {
        const error = refusal(engine, `${engine.protocols[0]}//u:p@h/?${name}=${secretive}`)
        expect(error.code).toBe('VALIDATION_FAILED')
        expect(error.message).toContain(name)
        expect(error.details).toEqual([{ field: 'connectionString', option: name, rule: 'is not allowed here' }])
        expect(JSON.stringify(error.toBody(''))).not.toContain(secretive)
      })
    }
  }

  test('400 for an option that is given twice, that has no name, or whose name is no name', () => {
    for (const query of ['sslmode=disable&sslmode=require', '=1', '%0asslmode=disable', 'SSLMODE=disable'])
      expect(refusal(postgres, `postgres://u@h/d?${query}`).code).toBe('VALIDATION_FAILED')
  })

  test('400 for sslmode prefer and allow, which may fall back to none', () => {
    for (const mode of ['prefer', 'allow', 'on', '', 'VERIFY-FULL', 'toString'])
      expect(refusal(postgres, `postgres://u@h/d?sslmode=${mode}`).message).toContain('the option sslmode must be')
  })

  test('400 for an application_name that is no plain text', () => {
    expect(refusal(postgres, 'postgres://u@h/d?application_name=a%00user%00x').message).toContain('application_name')
  })
})

describe('options without effect', () => {
  const ignored: readonly (readonly [Engine, readonly string[]])[] = [
    [redis, ['family', 'client_name', 'protocol']],
    [postgres, ['pgbouncer', 'channel_binding', 'connect_timeout', 'connection_limit', 'schema', 'supa']],
  ]
  for (const [engine, names] of ignored) {
    test(`are listed in the warnings of ${engine.kind}`, () => {
      const query = names.map((name) => `${name}=v4lu3`).join('&')
      const { warnings, options } = read(engine, `${engine.protocols[0]}//u:p@h/?${query}`)
      expect(warnings).toEqual(names.map((name) => `The option ${name} has no effect here and was ignored.`))
      expect(options).toEqual({})
    })
  }
})

describe('hosts and schemes', () => {
  const refused: readonly (readonly [Engine, string])[] = [
    [redis, 'http://169.254.169.254/latest'],
    [redis, 'unix:///var/run/redis.sock'],
    [redis, 'redis+socket:///var/run/redis.sock'],
    [redis, 'redis:///var/run/redis.sock'],
    [redis, '/var/run/redis.sock'],
    [redis, 'redis://%2Fvar%2Frun%2Fredis.sock'],
    [redis, 'redis://u:p@h/abc'],
    [redis, 'redis://u:p@h/-1'],
    [redis, 'redis://u:p@h/1e1'],
    [redis, 'redis://u:p@h/16'],
    [redis, 'redis://u:p@h/0/1'],
    [redis, 'redis://u:p@a,b/0'],
    [redis, 'redis://u:p@h:0/0'],
    [redis, 'redis://u:p@h:65536/0'],
    [redis, 'redis://u:p@h: 6379/0'],
    [redis, 'redis://u:p@h:+6379/0'],
    [redis, 'redis://u:p@h/0#x'],
    [redis, 'redis://u:p@h\r\nSET a b/0'],
    [redis, 'redis://u:p@'],
    [redis, 'redis://'],
    [redis, 'redis:'],
    [redis, ''],
    [redis, 'postgres://u:p@h/d'],
    [postgres, 'redis://u:p@h/0'],
    [postgres, 'http://u:p@h/d'],
    [postgres, 'postgres://u:p@/d?host=/var/run/postgresql'],
    [postgres, 'postgres:///d'],
    [postgres, 'postgres://u:p@%2Fvar%2Frun%2Fpostgresql/d'],
    [postgres, 'postgres://u:p@a:1,b:2/d'],
    [postgres, 'postgres://u:p@a,b/d'],
    [postgres, 'postgres://u:p@h/a/b'],
    [postgres, 'postgres://u:p@h/a%2Fb'],
    [postgres, `postgres://u:p@h/${'d'.repeat(64)}`],
    [postgres, 'postgres://u:p@h/d%00x'],
    [postgres, 'postgres://u%00:p@h/d'],
    [postgres, 'postgres://u:p%00@h/d'],
    [postgres, 'postgres://u:%zz@h/d'],
    [postgres, 'postgres://u:p@w@h/d'],
    [postgres, 'postgres://u:p/w@h/d'],
    [postgres, 'postgres://u:p?w@h/d'],
    [postgres, 'postgres://u:p@[::1/d'],
    [postgres, 'postgres://u:p@[fe80::1%25eth0]/d'],
    [postgres, 'postgres://u:p@h\\@evil/d'],
    [postgres, 'postgres://u:p\ud800@h/d'],
    [postgres, `postgres://u:${'p'.repeat(70_000)}@h/d`],
  ]
  for (const [engine, text] of refused) {
    test(`400 ${JSON.stringify(text.slice(0, 60))} for ${engine.kind}`, () =>
      expect(refusal(engine, text).code).toBe('VALIDATION_FAILED'))
  }

  test('config.databases bounds the database number of Redis', () => {
    expect(read(redis, 'redis://h/99', { databases: 100 }).database).toBe('99')
    expect(refusal(redis, 'redis://h/4', { databases: 4 }).message).toContain('config.databases')
  })

  test('IPv6 literals are taken in brackets, names in any case', () => {
    expect(read(redis, 'REDIS://[::1]:7000/1')).toMatchObject({ host: '::1', port: 7000, database: '1' })
    expect(read(postgres, 'postgres://u@DB.Example.COM/d').host).toBe('db.example.com')
  })

  test('400 names the field of the fields form', () => {
    const fields = (given: object) => {
      try {
        targetFromFields(postgres, { host: 'h', username: 'u', ...given }, {})
      } catch (error) {
        return (error as ApiError).details
      }
      return undefined
    }
    expect(fields({ host: '/tmp' })).toEqual([{ field: 'host', rule: expect.any(String) }])
    expect(fields({ host: 'a,b' })).toEqual([{ field: 'host', rule: 'must name a single host' }])
    expect(fields({ host: 'u:p@h' })).toEqual([{ field: 'host', rule: expect.any(String) }])
    expect(fields({ databaseName: 'a/b' })).toEqual([{ field: 'databaseName', rule: expect.any(String) }])
    expect(fields({ username: '' })).toEqual([{ field: 'username', rule: expect.any(String) }])
  })
})

describe('any text', () => {
  const part = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((text) => !text.includes('\0'))
  const whole = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom(...'redispostgql:/@?&=#%[]0123456789,.-_\u0000 \ud800é') }),
    fc.string({ unit: fc.constantFrom(...':/@?&=#%[],.ab1') }).map((rest) => `redis://${rest}`),
    fc.string({ unit: fc.constantFrom(...':/@?&=#%[],.ab1') }).map((rest) => `postgres://u@${rest}`),
  )

  test('is parsed, or refused as VALIDATION_FAILED without being repeated', () => {
    fc.assert(
      fc.property(fc.constantFrom(redis, postgres), whole, (engine, text) => {
        try {
          const target = read(engine, text)
          expect(read(engine, formatTarget(target), target.config).host).toBe(target.host)
        } catch (error) {
          expect((error as ApiError).code).toBe('VALIDATION_FAILED')
        }
      }),
      { numRuns: 3_000 },
    )
  })

  test('as user, password and database survives format and parse, and the password no mask', () => {
    fc.assert(
      fc.property(part, fc.option(part), part, (user, password, database) => {
        fc.pre(!database.includes('/') && Buffer.byteLength(database) <= 63)
        const fields = { host: 'h', username: user, password: password ?? undefined, databaseName: database }
        const target = targetFromFields(postgres, fields, {})
        expect(read(postgres, formatTarget(target))).toEqual(target)
        const marked = `s3cr3t${password}`
        const masked = maskTarget({ ...target, password: marked })
        expect(masked).not.toContain('s3cr3t')
        expect(masked).toContain(':****@h')
      }),
      { numRuns: 2_000 },
    )
  })

  test('as the password of Redis survives too, with a user and without', () => {
    fc.assert(
      fc.property(fc.option(part), part, fc.nat(15), fc.boolean(), (user, password, database, tls) => {
        const fields = { host: '::1', username: user ?? undefined, password, databaseName: String(database), tls }
        const target = targetFromFields(redis, fields, {})
        expect(read(redis, formatTarget(target))).toEqual(target)
      }),
      { numRuns: 2_000 },
    )
  })
})
