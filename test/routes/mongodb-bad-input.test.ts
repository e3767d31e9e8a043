import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { describeRegistries, inRegistry, newName, path } from '#test/registry/registries.ts'
import { canary } from '#test/support/credentials.ts'

type Wrong = readonly [field: string, ...values: unknown[]]

const notText: readonly unknown[] = [1, true, null, [], {}, ['a']]
const badText: readonly unknown[] = ['\0', 'a\0b', '\ud800', 'a\udfff']
const common: readonly Wrong[] = [
  ['host', '', 'a,b', '/tmp/x.sock', '%2Ftmp', 'a b', 'h'.repeat(254), 'é', ...notText, ...badText],
  ['port', 0, -1, 65_536, 1.5, Number.MAX_SAFE_INTEGER, '80', null, [], {}],
  ['username', 'u'.repeat(257), ...notText, ...badText],
  ['password', `${canary}${'p'.repeat(1024)}`, ...notText, ...badText],
  ['tls', 'yes', 'disable', 'prefer', 1, null, {}, [], 'require', 'verify-ca'],
  ['config', 1, null, 'text', [], true],
  ['config.caCertificate', 'no certificate', '', 1, '-----BEGIN CERTIFICATE-----', 'x'.repeat(65_537)],
  ['config.readOnly', 'true', 1, null],
  ['config.unknown', 1],
  ['config.constructor', 1],
  ['config.databases', 16],
]
const engines = {
  mongodb: {
    connectionString: 'mongodb://store.test',
    wrong: [
      '',
      'nonsense',
      'mongodb://',
      'redis://h',
      'mongodb://a,,b',
      'mongodb://h:0',
      'mongodb://h:99999',
      'mongodb://h/a b',
      'mongodb://h/a.b',
      'mongodb://h?tlsCAFile=x',
      'mongodb://h#x',
      'mongodb://%zz@h',
      'mongodb://a@b@c',
      'mongodb://%2Ftmp%2Fx.sock',
      'mongodb+srv://a:1',
      `mongodb://${'h'.repeat(5e3)}`,
      'mongodb://h?authMechanism=GSSAPI',
      'mongodb://h?w=x',
      'mongodb://h/?replicaSet=',
      'mongodb://[::1',
    ],
    more: [
      ['databaseName', 'a b', 'a/b', '.', '$external', 'a"b', 'x'.repeat(64), ...notText, ...badText],
      ['config.authSource', '', '$external', 'a b', 1, null],
      ['config.retryWrites', 'true', 1, null],
      ['config.w', '1', 'all', -1, 1.5, 51, null, {}],
      ['config.readPreference', '', 'primary ', 'Nearest', 1, null],
      ['config.tlsCAFile', '/etc/passwd'],
    ],
  },
  bun_api: {
    connectionString: 'http://peer.test',
    wrong: [
      '',
      'nonsense',
      'http://',
      'ftp://h',
      'http://a,b',
      'http://h:0',
      'http://h:99999',
      'http://h?x=1',
      'http://h/../x',
      'http://h/%2e',
      'http://h#x',
      'http://%zz@h',
      'http://a@b@c',
      'http://[::1',
      'http://%2Ftmp',
      'unix:///x',
      `https://${'h'.repeat(5e3)}`,
    ],
    more: [
      ['databaseName', '..', 'a/./b', ...notText, ...badText],
      ['config.authSource', 'admin'],
    ],
  },
} as const satisfies Record<string, { connectionString: string; wrong: readonly string[]; more: readonly Wrong[] }>

describeRegistries('bad input for MongoDB and Bun API', (app) => {
  const rows = () =>
    inRegistry(app(), async (sql) =>
      JSON.stringify(await sql`select id, version::int, updated_at::text from platform.databases order by id`),
    )
  const expectRefused = async (method: string, url: string, field: string, body: unknown) => {
    const answer = await app().request(method, url, { body })
    const about = `${method} ${field} ${JSON.stringify(body).slice(0, 200)}`
    expect([about, answer.status, answer.body?.error?.code]).toEqual([about, 400, 'VALIDATION_FAILED'])
    const { details }: { details: { field: string; rule: string }[] } = answer.body.error
    expect([about, details.map((detail) => detail.field)]).toEqual([about, expect.arrayContaining([field])])
    expect(details.every(({ rule }) => rule.length > 5)).toBe(true)
    expect(answer.text.length).toBeLessThan(8_000)
  }
  const put = (base: object, field: string, value: unknown) => {
    const [head = '', tail] = field.split('.')
    return { ...base, [head]: tail === undefined ? value : { [tail]: value } }
  }

  for (const [type, { connectionString, wrong, more }] of Object.entries(engines)) {
    const target = { type, connectionString }
    const creation = () => ({ projectRef: 'default', name: newName(), ...target })
    const table: readonly Wrong[] = [['connectionString', ...wrong, ...notText, ...badText], ...common, ...more]
    const isForm = (field: string) => /^(host|port|databaseName|username|password|tls)$/.test(field)

    test(`400 names the field and saves nothing: ${type}`, async () => {
      const { id } = (await app().request('POST', `${path}?skipTest=true`, { body: creation() })).body
      const before = await rows()
      for (const [field, ...values] of table)
        for (const value of values) {
          const form = { connectionString: undefined, host: 'h' }
          const whole = { ...creation(), ...(isForm(field) ? form : {}) }
          await expectRefused('POST', `${path}?skipTest=true`, field, put(whole, field, value))
          const tested = { ...target, ...(isForm(field) ? form : {}) }
          await expectRefused('POST', `${path}/test`, field, put(tested, field, value))
          // A new TLS mode or host wants the whole credential before it is looked at.
          const partial = ['tls', 'host', 'port'].includes(field) && typeof value === 'string' && value !== ''
          if (!partial) await expectRefused('PATCH', `${path}/${id}`, field, put({}, field, value))
        }
      expect(await rows()).toBe(before)
    }, 60_000)
  }

  test('no random body is ever a 5xx', async () => {
    const ids: string[] = []
    for (const [type, { connectionString }] of Object.entries(engines)) {
      const body = { projectRef: 'default', name: newName(), type, connectionString }
      ids.push((await app().request('POST', `${path}?skipTest=true`, { body })).body.id)
    }
    const names = ['name', 'host', 'port', 'tls', 'config', 'username', 'password', 'connectionString', 'databaseName']
    const text = fc.string({ unit: fc.constantFrom(...':/@?&=#%[],.ab1$ \0é'), maxLength: 30 })
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      text.map((rest) => `mongodb://${rest}`),
      text.map((rest) => `mongodb+srv://${rest}`),
      text.map((rest) => `http://${rest}`),
      fc.constantFrom(true, 'verify-full', { authSource: 'admin' }, { w: 'majority' }, { readPreference: 'nearest' }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.keys(engines)),
        fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 6 }),
        async (type, given) => {
          const body = { ...given, type, projectRef: 'default', name: newName() }
          const created = await app().request('POST', `${path}?skipTest=true`, { body })
          expect([body, created.status < 500]).toEqual([body, true])
          for (const id of ids) {
            const { status } = await app().request('PATCH', `${path}/${id}`, { body: { ...given, name: newName() } })
            // It is tested when the target changes, and that a 400 too.
            expect([given, status < 500]).toEqual([given, true])
          }
        },
      ),
      { numRuns: 60 },
    )
  }, 60_000)
})
