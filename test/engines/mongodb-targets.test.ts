import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { limitsFor } from '#src/limits.ts'
import { loadConfig } from '#src/config.ts'
import { engines } from '#src/engines/index.ts'
import { clientOptions } from '#src/engines/mongodb/client-options.ts'
import { formatTarget, maskTarget, parseTarget, type Target, targetFromFields } from '#src/engines/target.ts'
import { ApiError } from '#src/errors.ts'

const { mongodb } = engines
const read = (text: string, config = {}) => parseTarget(mongodb, text, config)
const refusal = (text: string, config = {}): ApiError => {
  try {
    read(text, config)
  } catch (error) {
    if (error instanceof ApiError) return error
    throw error
  }
  throw new Error('was not refused')
}
const limits = limitsFor(loadConfig({}), 'mongodb')
const optionsOf = (text: string, config = {}) => {
  const target = read(text, config)
  return clientOptions(target as Target, limits, { ...target.config, ...target.options }, target.hosts.length)
}

describe('the example connection strings of the platform', () => {
  const at = (...hosts: readonly string[]) => hosts.map((host) => ({ host, port: 27_017 }))
  const common = { kind: 'mongodb', protocol: 'mongodb:', port: 27_017, config: {}, warnings: [] }
  const single = (host: string) => ({
    ...common,
    host,
    hosts: at(host),
    database: 'database',
    user: 'username',
    password: 'password',
    tls: 'off' as const,
    options: {},
  })
  const examples = {
    'mongodb://username:password@mongodb.railway.internal:27017/database': single('mongodb.railway.internal'),
    'mongodb://username:password@mongodb-production.up.railway.app:27017/database': single(
      'mongodb-production.up.railway.app',
    ),
    'mongodb+srv://username:password@cluster.mongodb.net/database': {
      ...single('cluster.mongodb.net'),
      protocol: 'mongodb+srv:',
      tls: 'full' as const,
    },
    'mongodb://user:pass@host1:27017,host2:27017,host3:27017/db?replicaSet=rs0': {
      ...common,
      host: 'host1',
      hosts: at('host1', 'host2', 'host3'),
      database: 'db',
      user: 'user',
      password: 'pass',
      tls: 'off' as const,
      options: { replicaSet: 'rs0' },
    },
  }
  for (const [text, expected] of Object.entries(examples))
    test(text, () => {
      expect(read(text)).toEqual(expected)
      expect(read(formatTarget(read(text)))).toEqual(expected)
    })

  test('the example configuration is taken, and loses to the connection string', () => {
    const config = { authSource: 'admin', retryWrites: true, w: 'majority', readPreference: 'primaryPreferred' }
    expect(mongodb.config.parse(config)).toEqual(config)
    expect(optionsOf('mongodb://u:p@h/app', config)).toMatchObject({
      authSource: 'admin',
      retryWrites: true,
      writeConcern: { w: 'majority' },
      readPreference: 'primaryPreferred',
    })
    const query = 'authSource=other&retryWrites=false&w=2&readPreference=nearest'
    expect(optionsOf(`mongodb://u:p@h/app?${query}`, config)).toMatchObject({
      authSource: 'other',
      retryWrites: false,
      writeConcern: { w: 2 },
      readPreference: 'nearest',
    })
  })

  test('wrong configuration is refused by key', () => {
    for (const [key, ...values] of [
      ['authSource', '$external', 'a b', 1, ''],
      ['retryWrites', 'true', 1, null],
      ['w', 'all', -1, 51, 1.5, '1'],
      ['readPreference', 'Primary', '', 1],
      ['tlsCAFile', '/etc/passwd'],
      ['authMechanism', 'MONGODB-OIDC'],
      ['proxyHost', 'h'],
    ] as const)
      for (const value of values)
        expect([key, mongodb.config.safeParse({ [key]: value }).success]).toEqual([key, false])
  })
})

describe('the options the driver gets', () => {
  test('are ours: short waits, no compression, no command events, no retried reads', () => {
    const options = optionsOf('mongodb://u:p@h/app')
    expect(options).toMatchObject({
      directConnection: true,
      retryReads: false,
      serverSelectionTimeoutMS: 2_000,
      connectTimeoutMS: 3_000,
      socketTimeoutMS: 5_000,
      waitQueueTimeoutMS: 1_000,
      maxPoolSize: 5,
      monitorCommands: false,
      tls: false,
      promoteValues: false,
    })
    expect(options).not.toHaveProperty('compressors')
    expect(options).not.toHaveProperty('timeoutMS')
  })

  test('POOL_WAIT_TIMEOUT_MS bounds the wait for a connection, and 0 is not without end', () => {
    const waits = ['250', '0'].map((POOL_WAIT_TIMEOUT_MS) => {
      const own = limitsFor(loadConfig({ POOL_WAIT_TIMEOUT_MS }), 'mongodb')
      return clientOptions(read('mongodb://h') as Target, own, {}, 1).waitQueueTimeoutMS
    })
    expect(waits).toEqual([250, 1])
  })

  test('authSource is the database of the path, then admin; without a user there is no authentication', () => {
    expect(optionsOf('mongodb://u:p@h/app')).toMatchObject({ authSource: 'app' })
    expect(optionsOf('mongodb://u:p@h')).toMatchObject({ authSource: 'admin' })
    expect(optionsOf('mongodb://h/app')).not.toHaveProperty('auth')
  })

  test('a replica set is discovered, a lone server is not, and directConnection decides for one host', () => {
    const direct = (text: string) => optionsOf(text).directConnection
    expect([
      direct('mongodb://h'),
      direct('mongodb://h?replicaSet=rs0'),
      direct('mongodb://h?replicaSet=rs0&directConnection=true'),
      direct('mongodb://h?directConnection=false'),
      direct('mongodb://a,b'),
    ]).toEqual([true, false, true, false, false])
  })
})

describe('refused options', () => {
  const secretive = 'v4lu3'
  const names = `
    tlsCAFile tlsCertificateKeyFile tlsCertificateKeyFilePassword tlsCRLFile sslCA sslCert tlsInsecure
    tlsAllowInvalidCertificates tlsAllowInvalidHostnames sslValidate loadBalanced proxyHost proxyPort
    proxyUsername proxyPassword authMechanismProperties gssapiServiceName srvServiceName srvMaxHosts
    readPreferenceTags maxStalenessSeconds readConcernLevel journal autoEncryption pkFactory host
    constructor __proto__ AUTHSOURCE replicaset`
    .trim()
    .split(/\s+/)
  for (const name of names)
    test(`400 names ${name} and never its value`, () => {
      const error = refusal(`mongodb://u:p@h/?${name}=${secretive}`)
      expect(error.details).toEqual([{ field: 'connectionString', option: name, rule: 'is not allowed here' }])
      expect(JSON.stringify(error.toBody(''))).not.toContain(secretive)
    })

  for (const mechanism of ['MONGODB-OIDC', 'MONGODB-AWS', 'MONGODB-X509', 'PLAIN', 'GSSAPI', 'MONGODB-CR', 'DEFAULT'])
    test(`400 for authMechanism ${mechanism}, which is not repeated`, () => {
      const error = refusal(`mongodb://u:p@h/?authMechanism=${mechanism}`)
      expect([error.code, error.message.includes('authMechanism')]).toEqual(['VALIDATION_FAILED', true])
      expect(JSON.stringify(error.toBody(''))).not.toContain(mechanism)
    })

  test('400 for authSource $external, and for values out of their range', () => {
    for (const query of [
      'authSource=$external',
      'authSource=%24external',
      'authSource=a/b',
      'authSource=',
      'tls=yes',
      'ssl=1',
      'w=all',
      'w=-1',
      'w=1e2',
      'readPreference=any',
      'replicaSet=',
      'replicaSet=a%20b',
      'retryWrites=',
      'directConnection=TRUE',
      'tls=true&tls=false',
    ])
      expect([query, refusal(`mongodb://u:p@h/?${query}`).code]).toEqual([query, 'VALIDATION_FAILED'])
  })

  test('harmless ones are listed in the warnings', () => {
    const names = ['appName', 'compressors', 'maxPoolSize', 'socketTimeoutMS', 'timeoutMS', 'retryReads']
    const { warnings, options } = read(`mongodb://u:p@h/?${names.map((name) => `${name}=9`).join('&')}`)
    expect([options, warnings]).toEqual([
      {},
      names.map((name) => `The option ${name} has no effect here and was ignored.`),
    ])
  })
})

describe('hosts, paths and schemes', () => {
  const wrong = `
    mongodb://%2Ftmp%2Fmongodb-27017.sock mongodb:///tmp/mongodb.sock mongodb://u:p@a,/tmp/x.sock/db
    mongodb://a,,b mongodb://a, mongodb:// mongodb: mongodb://u:p@h:0 mongodb://h:27017:1 mongodb://h/a/b
    mongodb://h/a%2Fb mongodb://h/a.b mongodb://h/$external mongodb://h/a%20b mongodb://h/d#x mongodb://u:p@w@h
    mongo://h http://h mongodb+srv://a.mongodb.net,b.mongodb.net/d mongodb+srv://a.mongodb.net:27018/d
    mongodb://a,b?directConnection=true mongodb+srv://a.mongodb.net?directConnection=true`
  for (const text of [...wrong.trim().split(/\s+/), `mongodb://h/${'d'.repeat(64)}`, ''])
    test(`400 ${text.slice(0, 50)}`, () => expect(refusal(text).code).toBe('VALIDATION_FAILED'))

  test('ssl is tls; both together have to agree', () => {
    expect([read('mongodb://h?ssl=true').tls, read('mongodb+srv://a.b.c?tls=false').tls]).toEqual(['full', 'off'])
    expect(refusal('mongodb://h?tls=true&ssl=false').code).toBe('VALIDATION_FAILED')
  })
})

describe('any text', () => {
  const soup = fc.string({ unit: fc.constantFrom(...':/@?&=#%[],.ab1$ '), maxLength: 60 })
  const whole = fc.oneof(
    fc.string({ unit: 'binary' }),
    soup.map((rest) => `mongodb://${rest}`),
    soup.map((rest) => `mongodb+srv://${rest}`),
    fc
      .array(fc.tuple(fc.constantFrom('tls', 'authSource', 'w', 'replicaSet', 'proxyHost', 'x'), soup), {
        maxLength: 4,
      })
      .map(
        (pairs) =>
          `mongodb://u:p@a,b:2/d?${pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`,
      ),
  )

  test('is parsed to options the driver takes, or refused as VALIDATION_FAILED', () => {
    fc.assert(
      fc.property(whole, (text) => {
        try {
          const target = read(text)
          expect(read(formatTarget(target))).toMatchObject({ hosts: target.hosts, options: target.options })
          optionsOf(text)
        } catch (error) {
          expect((error as ApiError).code).toBe('VALIDATION_FAILED')
        }
      }),
      { numRuns: 3_000 },
    )
  })

  test('as user and password survives format and parse, and the password no mask', () => {
    const part = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((text) => !text.includes('\0'))
    fc.assert(
      fc.property(part, part, (username, password) => {
        const target = targetFromFields(
          mongodb,
          { host: '::1', username, password: `s3cr3t${password}`, tls: true },
          {},
        )
        expect(read(formatTarget(target))).toEqual(target)
        expect(maskTarget(target)).not.toContain('s3cr3t')
      }),
      { numRuns: 1_000 },
    )
  })
})
