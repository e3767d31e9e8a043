import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { describeRegistries, inRegistry, newName, path } from '#test/registry/registries.ts'
import { canary } from '#test/support/credentials.ts'

type Wrong = readonly [field: string, ...values: unknown[]]

const notText: readonly unknown[] = [1, true, null, [], {}, ['a']]
const badText: readonly unknown[] = ['\0', 'a\0b', '\ud800', 'a\udfff']
const badName: readonly unknown[] = [
  '',
  'A',
  'a b',
  'a_b',
  '-é',
  'a/b',
  "a'; --",
  'x'.repeat(64),
  ...notText,
  ...badText,
]
const wrongConnection: readonly Wrong[] = [
  [
    'connectionString',
    '',
    'nonsense',
    'redis://',
    'http://host',
    `redis://${'h'.repeat(5000)}`,
    'redis://a,b',
    'redis://h:0',
  ],
  ['connectionString', 'redis://h:99999', 'redis://h/abc', 'redis://h/16', 'redis://h?commandTimeout=1', 'redis://h#x'],
  ['connectionString', 'redis://%zz@h', 'redis:// h', 'redis://a@b@c', ...notText, ...badText],
  ['host', '', 'a,b', '/tmp/x.sock', '%2Ftmp', 'a b', 'h'.repeat(254), 'é', ...notText, ...badText],
  ['port', 0, -1, 65_536, 1.5, Number.MAX_SAFE_INTEGER, '6379', null, [], {}],
  ['databaseName', '16', '-1', 'abc', 'x'.repeat(64), ...notText, ...badText],
  ['username', 'u'.repeat(257), ...notText, ...badText],
  ['password', `${canary}${'p'.repeat(1024)}`, ...notText, ...badText],
  ['tls', 'yes', 'disable', 'prefer', 1, null, {}, []],
]
const wrongConfig: readonly Wrong[] = [
  ['config', 1, null, 'text', [], true],
  ['config.databases', 0, 1.5, '16', null, 1e9],
  ['config.maxmemory', 1, 'x'.repeat(65)],
  ['config.caCertificate', 'no certificate', '', 1],
  ['config.readOnly', 'true', 1, null],
  ['config.unknown', 1],
  ['config.constructor', 1],
]
const wrongText: readonly Wrong[] = [['description', 'd'.repeat(1001), 1, true, [], {}, ...badText]]

describeRegistries('bad input', (app) => {
  const rows = async () =>
    (
      await inRegistry(
        app(),
        (sql) => sql`select id, version::int, updated_at::text from platform.databases order by id`,
      )
    ).map((row) => ({ ...row }))
  const expectRefused = async (method: string, url: string, field: string, options: { body?: unknown } = {}) => {
    const { status, body, text } = await app().request(method, url, options)
    const about = `${method} ${url.slice(0, 60)} ${field} ${JSON.stringify(options.body ?? '').slice(0, 200)}`
    expect([about, status, body?.error?.code]).toEqual([about, 400, 'VALIDATION_FAILED'])
    expect([about, body]).toEqual([
      about,
      {
        message: body.error.message,
        error: {
          code: 'VALIDATION_FAILED',
          message: expect.stringMatching(/^.{5,}$/),
          retryable: false,
          requestId: expect.any(String),
          details: expect.any(Array),
        },
      },
    ])
    const details: { field: string; rule: string }[] = body.error.details
    expect([about, details.map((detail) => detail.field)]).toEqual([about, expect.arrayContaining([field])])
    expect(details.every(({ rule }) => rule.length > 5)).toBe(true)
    expect(text.length).toBeLessThan(8_000)
  }
  const put = (base: object, field: string, value: unknown) => {
    const [head = '', tail] = field.split('.')
    return { ...base, [head]: tail === undefined ? value : { [tail]: value } }
  }
  const refuseAll = async (method: string, url: string, base: object, table: readonly Wrong[]) => {
    const before = await rows()
    for (const [field, ...values] of table)
      for (const value of values) {
        const form = /^(host|port|databaseName|username|password|tls)$/.test(field)
        const whole = form && 'connectionString' in base ? { ...base, connectionString: undefined, host: 'h' } : base
        await expectRefused(method, url, field, { body: put(whole, field, value) })
      }
    expect(await rows()).toEqual(before)
  }
  const target = { type: 'redis', connectionString: 'redis://store.test' }
  const creation = () => ({ projectRef: 'default', name: newName(), ...target })
  const add = async () => (await app().request('POST', `${path}?skipTest=true`, { body: creation() })).body

  describe('400 names the field and the rule, and saves nothing', () => {
    test('POST /databases', async () => {
      const type: Wrong = ['type', '', 'mysql', 'Redis', '__proto__', 'constructor', ...notText]
      const ref: Wrong = ['projectRef', '', 'a b', "'; --", 'x'.repeat(65), 'é', ...notText, ...badText]
      const table = [...wrongConnection, ...wrongConfig, ...wrongText, type, ref, ['name', ...badName] as const]
      await refuseAll('POST', `${path}?skipTest=true`, creation(), table)
      for (const field of ['projectRef', 'name', 'type', 'connectionString'])
        await expectRefused('POST', path, field, { body: { ...creation(), [field]: undefined } })
    })

    test('POST /databases/test', async () => {
      await refuseAll('POST', `${path}/test`, target, [
        ...wrongConnection,
        ...wrongConfig,
        ['type', 'mysql', ...notText],
      ])
      for (const field of ['projectRef', 'name', 'description'])
        await expectRefused('POST', `${path}/test`, field, { body: { ...target, [field]: 'x' } })
    })

    test('PATCH /databases/{id}', async () => {
      const { id } = await add()
      const connection = wrongConnection.filter(([field]) => field !== 'tls')
      await refuseAll('PATCH', `${path}/${id}`, {}, [...connection, ...wrongConfig, ...wrongText, ['name', ...badName]])
      for (const tls of ['yes', 'require', 1, null])
        await expectRefused('PATCH', `${path}/${id}`, 'tls', { body: { tls } })
      for (const body of [
        {},
        { projectRef: 'default' },
        { type: 'redis' },
        { id },
        { version: 9 },
        { status: 'error' },
      ])
        await expectRefused('PATCH', `${path}/${id}`, Object.keys(body)[0] ?? 'body', { body })
      expect((await app().request('GET', `${path}/${id}`)).body.version).toBe(1)
    })

    test('both forms of a connection', async () => {
      const { id } = await add()
      const both = { connectionString: 'redis://store.test', port: 6379 }
      await expectRefused('POST', path, 'port', { body: { ...creation(), ...both } })
      await expectRefused('POST', `${path}/test`, 'port', { body: { ...target, ...both } })
      await expectRefused('PATCH', `${path}/${id}`, 'port', { body: both })
    })

    test('keys of objects’ own', async () => {
      const { id } = await add()
      const json = JSON.stringify(creation())
      for (const key of ['__proto__', 'constructor', 'toString'])
        for (const value of ['1', '{"admin":true}']) {
          const extra = `"${key}":${value}`
          await expectRefused('POST', path, key, { body: json.replace('{', `{${extra},`) })
          await expectRefused('PATCH', `${path}/${id}`, key, { body: `{${extra}}` })
          await expectRefused('PATCH', `${path}/${id}`, `config.${key}`, { body: `{"config":{${extra}}}` })
        }
    })

    test('bodies that are no object, and numbers JSON cannot carry', async () => {
      const { id } = await add()
      for (const body of ['[]', 'null', '1', '"text"', '', '{', '{"a":}', 'undefined']) {
        await expectRefused('POST', path, 'body', { body })
        await expectRefused('PATCH', `${path}/${id}`, 'body', { body })
      }
      await expectRefused('PATCH', `${path}/${id}`, 'body', { body: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d]) })
      for (const port of ['1e400', '9007199254740993', '1e21']) {
        const { status, body } = await app().request('PATCH', `${path}/${id}`, { body: `{"host":"h","port":${port}}` })
        expect([port, status, body.error.code]).toEqual([port, 400, 'VALIDATION_FAILED'])
      }
    })

    test('query parameters', async () => {
      const table: readonly (readonly [field: string, ...values: string[]])[] = [
        ['limit', '', '0', '-1', '1001', '1.5', 'abc', '1e2', '0x10', ' 5', '99999999999999999999'],
        ['types', '', ',', Array(60).fill('redis').join(',')],
        ['types.0', 'mysql', '__proto__', '\0'],
        ['types.1', 'redis,mysql'],
        ['status', '', 'ok', 'ACTIVE'],
        ['search', '', 's'.repeat(201), '\0'],
        ['projectRef', '', 'a b', "' or 1=1 --", 'x'.repeat(65), '\0'],
        ['cursor', '', 'abc', 'c'.repeat(1001), '\0'],
      ]
      for (const [field, ...values] of table)
        for (const value of values) {
          const [name = ''] = field.split('.')
          await expectRefused('GET', `${path}?${name}=${encodeURIComponent(value)}`, field)
        }
      await expectRefused('GET', `${path}?limit=1&limit=2`, 'limit')
      for (const value of ['yes', '', '2', 'TRUE '])
        await expectRefused('POST', `${path}?skipTest=${encodeURIComponent(value)}`, 'skipTest', { body: creation() })
    })

    test('path parameters', async () => {
      for (const id of ['1', 'x', encodeURIComponent("' or 1=1 --"), '00000000-0000-0000-0000-00000000000g', '%00'])
        for (const [method, tail, body] of [
          ['GET', ''],
          ['PATCH', '', { name: 'x' }],
          ['DELETE', ''],
          ['POST', '/test'],
          ['GET', '/info'],
        ] as const)
          await expectRefused(method, `${path}/${id}${tail}`, 'id', { body })
      for (const name of ['A', 'a_b', '%00', encodeURIComponent("'"), 'x'.repeat(64)])
        await expectRefused('GET', `${path}/by-name/default/${name}`, 'name')
      for (const ref of ['a%20b', '%00', 'x'.repeat(65)])
        await expectRefused('GET', `${path}/by-name/${ref}/name`, 'projectRef')
    })
  })

  test('no random body is ever a 5xx', async () => {
    const { id } = await add()
    const field = fc.oneof(
      fc.constantFrom(
        'name',
        'type',
        'host',
        'port',
        'tls',
        'config',
        'username',
        'password',
        'description',
        'connectionString',
        'databaseName',
        'projectRef',
        '__proto__',
      ),
      fc.string(),
    )
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom('redis', 'postgres', 'default', 'redis://h', 'postgres://u@h/d', true, 'verify-full'),
      fc.string({ unit: 'binary' }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(field, value), { maxLength: 8 }), async (entries) => {
        const body = JSON.stringify(Object.fromEntries(entries))
        const answers = [
          await app().request('POST', `${path}?skipTest=true`, { body }),
          await app().request('PATCH', `${path}/${id}`, {
            body: body.replaceAll('"host"', '"hostt"').replaceAll('"connectionString"', '"c"'),
          }),
        ]
        expect(answers.map(({ status }) => status).every((status) => status < 500)).toBe(true)
      }),
      { numRuns: 150 },
    )
  })
})
