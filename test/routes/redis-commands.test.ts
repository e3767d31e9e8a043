import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { Reply } from '#src/engines/redis/wire/batch.ts'
import { type ReplyJson, replyJson } from '#src/engines/redis/run/reply-json.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'
import { canary } from '#test/support/stores.ts'

type Word = string | number | { readonly base64: string }

const b64 = (data: Uint8Array) => ({ base64: Buffer.from(data).toString('base64') })

/** What a reply was, from its JSON alone. */
function backward(json: ReplyJson): unknown {
  if (json === null) return ['nil']
  if (typeof json === 'number') return ['integer', String(json)]
  if (typeof json === 'string') return ['string', Buffer.from(json).toString('hex')]
  if (Array.isArray(json)) return ['array', (json as readonly ReplyJson[]).map(backward)]
  const form = json as { base64?: string; integer?: string; error?: { details?: { code: string } } }
  if (form.base64 !== undefined) return ['string', Buffer.from(form.base64, 'base64').toString('hex')]
  if (form.integer !== undefined) return ['integer', form.integer]
  return ['error', form.error?.details?.code]
}

function forward(reply: Reply): unknown {
  if (reply === null) return ['nil']
  if (reply instanceof Buffer) return ['string', reply.toString('hex')]
  if (reply instanceof Error) return ['error', reply.message.split(' ')[0]]
  if (Array.isArray(reply)) return ['array', (reply as readonly Reply[]).map(forward)]
  return ['integer', String(reply)]
}

function replyError(code: string): Error {
  return Object.assign(new Error(`${code} something`), { name: 'ReplyError' })
}

describe('a reply as JSON', () => {
  test('is told back from its JSON, whatever its types and bytes', () => {
    const bytes = fc.uint8Array({ maxLength: 12 }).map((data) => Buffer.from(data))
    const text = fc.string({ unit: 'binary', maxLength: 8 }).map((value) => Buffer.from(value))
    const integer = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)
    const code = fc.constantFrom('ERR', 'WRONGTYPE', 'NOPERM').map(replyError)
    const { reply } = fc.letrec<{ reply: Reply }>((tie) => ({
      reply: fc.oneof(
        { maxDepth: 4 },
        bytes,
        text,
        integer,
        fc.constant(null),
        code,
        fc.array(tie('reply'), { maxLength: 4 }),
      ),
    }))
    fc.assert(
      fc.property(reply, fc.constantFrom('utf8' as const, 'base64' as const), (given, encoding) => {
        const json = JSON.parse(JSON.stringify(replyJson(given, encoding))) as ReplyJson
        expect(backward(json)).toEqual(forward(given))
      }),
      { numRuns: 500 },
    )
  })

  test('has integers as numbers as far as a double holds them, and strings of digits as strings', () => {
    const of = (reply: Reply) => replyJson(reply, 'utf8')
    expect([of('9007199254740991'), of('9007199254740993'), of('-9007199254740993'), of(Buffer.from('1'))]).toEqual([
      9007199254740991,
      { integer: '9007199254740993' },
      { integer: '-9007199254740993' },
      '1',
    ])
  })
})

describeWith('redis', 'commands as callers give them', (store) => {
  const { app, raw, id, registered } = redisApp(store, 9, {
    env: { MAX_RESPONSE_BYTES: '65536', MAX_VALUE_BYTES: '65536' },
  })
  const { username, password } = store.limited
  const limited = registered({
    connectionString: `redis://${username}:${encodeURIComponent(password)}@${store.host}:${store.port}/9`,
  })

  const command = (words: unknown, query = '', of = id()) =>
    app.request('POST', `/api/platform/redis/${of}/command${query}`, { body: { command: words } })
  const pipeline = (commands: unknown, query = '') =>
    app.request('POST', `/api/platform/redis/${id()}/pipeline${query}`, { body: { commands } })

  describe('POST /redis/{databaseId}/command', () => {
    test('200 runs a command in any case, with text, bytes and integers as arguments', async () => {
      expect((await command(['sEt', 'a', { base64: '//4A' }, 'PX', 60_000])).body).toEqual({ result: 'OK' })
      expect(await raw.getBuffer('a')).toEqual(Buffer.from([0xff, 0xfe, 0]))
      expect((await command([{ base64: 'R0VU' }, 'a'])).body).toEqual({ result: { base64: '//4A' } })
      expect((await command(['PTTL', 'a'])).body.result).toBeGreaterThan(50_000)
    })

    test('200 each type of reply in a form of its own', async () => {
      await raw.set('n', '9007199254740992')
      await raw.rpush('list', '1', 'two')
      await raw.hset('hash', 'field', 'value')
      const asked: readonly (readonly [readonly Word[], unknown])[] = [
        [['GET', 'absent'], null],
        [['INCR', 'n'], { integer: '9007199254740993' }],
        [['GET', 'n'], '9007199254740993'],
        [['LLEN', 'list'], 2],
        [
          ['LRANGE', 'list', 0, -1],
          ['1', 'two'],
        ],
        [
          ['HGETALL', 'hash'],
          ['field', 'value'],
        ],
        [
          ['HMGET', 'hash', 'field', 'none'],
          ['value', null],
        ],
        [['SMEMBERS', 'absent'], []],
        [['PING'], 'PONG'],
        [['PING', 'you'], 'you'],
      ]
      const seen = []
      for (const [words] of asked) seen.push((await command(words)).body.result)
      expect(seen).toEqual(asked.map(([, result]) => result))
    })

    test('200 base64 when asked, integers and nothing unchanged', async () => {
      await raw.set('text', 'text')
      expect((await command(['MGET', 'text', 'absent'], '?encoding=base64')).body.result).toEqual([
        { base64: 'dGV4dA==' },
        null,
      ])
      expect((await command(['STRLEN', 'text'], '?encoding=base64')).body.result).toBe(4)
    })

    test('200 errors within a reply', async () => {
      const script = "return {1, redis.error_reply('MYCODE of mine'), false}"
      expect((await command(['EVAL', script, 0])).body.result).toEqual([
        1,
        { error: { code: 'DB_QUERY_ERROR', message: expect.any(String), details: { code: 'MYCODE' } } },
        null,
      ])
    })

    test('200 any bytes as arguments come back as they were', async () => {
      const bytes = fc.uint8Array({ maxLength: 64 })
      await fc.assert(
        fc.asyncProperty(bytes, bytes, async (key, value) => {
          expect((await command(['SET', b64(key), b64(value)])).body.result).toBe('OK')
          expect((await command(['GET', b64(key)], '?encoding=base64')).body.result).toEqual(b64(value))
          expect(await raw.getBuffer(Buffer.from(key))).toEqual(Buffer.from(value))
        }),
        { numRuns: 60 },
      )
    })

    test('200 in another logical database, and the next in the registered one', async () => {
      await command(['SET', 'where', 'there'], '?db=10')
      const found = [await command(['GET', 'where'], '?db=10'), await command(['GET', 'where'])]
      expect(found.map(({ body }) => body.result)).toEqual(['there', null])
      await command(['DEL', 'where'], '?db=10')
      expect((await command(['GET', 'where'], '?db=16')).status).toBe(400)
    })

    test('400 what Redis refuses, with its code and its own reason', async () => {
      await raw.del('list')
      await raw.rpush('list', '1')
      const wrong = await command(['INCR', 'list'])
      const few = await command(['SET', 'a'])
      expect([wrong, few].map(({ status, body }) => [status, body.error.code, body.error.details])).toEqual([
        [
          400,
          'DB_QUERY_ERROR',
          { code: 'WRONGTYPE', message: 'Operation against a key holding the wrong kind of value' },
        ],
        [400, 'DB_QUERY_ERROR', { code: 'ERR', message: "wrong number of arguments for 'set' command" }],
      ])
    })

    test('400 what runs for nobody, saying where else it is to be had', async () => {
      const asked = [
        ['CONFIG', 'GET', 'requirepass'],
        ['select', 1],
        ['XREAD', 'BLOCK', 0, 'STREAMS', 's', '$'],
        ['NONE'],
      ]
      const answers = await Promise.all(asked.map((words) => command(words)))
      expect(answers.map(({ status, body }) => [status, body.error.code, body.error.message])).toEqual([
        [400, 'DB_UNSUPPORTED', 'CONFIG does not run here. GET config reads the settings.'],
        [400, 'DB_UNSUPPORTED', 'SELECT does not run here. The parameter db names another logical database.'],
        [400, 'DB_UNSUPPORTED', 'XREAD would hold up everybody else. GET streams/tail waits for entries.'],
        [400, 'DB_UNSUPPORTED', 'This Redis has no such command.'],
      ])
    })

    test('200 two hundred callers of small values at once, more than there are connections and places to wait for one', async () => {
      await raw.set('small', 'value')
      const answers = await Promise.all(Array.from({ length: 200 }, () => command(['GET', 'small'])))
      expect(answers.filter(({ body }) => body.result !== 'value')).toEqual([])
    })

    test('413 a reply above the cap, while others go on', async () => {
      await raw.set('large', 'x'.repeat(4_000_000))
      const [large, ...others] = await Promise.all([
        command(['GET', 'large']),
        ...Array.from({ length: 20 }, () => command(['STRLEN', 'large'])),
        command(['GETRANGE', 'large', 0, 2]),
      ])
      expect([large.status, large.body.error.code]).toEqual([413, 'RESULT_TOO_LARGE'])
      expect(others.map(({ body }) => body.result)).toEqual([...Array(20).fill(4_000_000), 'xxx'])
    })

    test('400 for an ACL user whose rights do not reach, with Redis’ code', async () => {
      const answers = await Promise.all([
        command(['SLOWLOG', 'LEN'], '', limited()),
        command(['INFO'], '', limited()),
        command(['STRLEN', 'large'], '', limited()),
      ])
      expect(answers.map(({ status, body }) => [status, body.error?.details ?? body.result])).toEqual([
        [400, { code: 'NOPERM', command: 'SLOWLOG LEN', message: expect.stringContaining('slowlog|len') }],
        [400, { code: 'NOPERM', command: 'INFO', message: expect.stringContaining('info') }],
        [200, 4_000_000],
      ])
    })

    test('400 for an ACL user who may not ask what a command does', async () => {
      const username = `blind_${process.pid}`
      await raw.call('ACL', 'SETUSER', username, 'on', `>${canary}`, '~*', '+@all', '-command')
      const connectionString = `redis://${username}:${canary}@${store.host}:${store.port}/9`
      const blind = (await app.register({ name: 'blind', type: 'redis', connectionString })).id
      const { status, body } = await command(['GET', 'a'], '', blind)
      await raw.call('ACL', 'DELUSER', username)
      expect([status, body.error.code, body.error.message]).toEqual([
        400,
        'DB_QUERY_ERROR',
        "The Redis user's ACL does not allow COMMAND, which tells what a command does.",
      ])
    })

    const bad: readonly (readonly [unknown, string])[] = [
      [[], 'command'],
      ['GET a', 'command'],
      [['GET', null], 'command.1'],
      [['GET', 1.5], 'command.1'],
      [['SET', 'a', { base64: '!' }], 'command.2.base64'],
      [Array(1025).fill('a'), 'command'],
    ]
    test.each(bad.map((row) => [...row] as [unknown, string]))('400 %j, naming %s', async (words, field) => {
      const { status, body } = await command(words)
      expect([status, body.error.code, body.error.details[0].field]).toEqual([400, 'VALIDATION_FAILED', field])
    })

    test('400 an integer that JSON can not hold', async () => {
      const { status, body } = await app.request('POST', `/api/platform/redis/${id()}/command`, {
        body: '{"command":["SET","a",9007199254740993]}',
      })
      expect([status, body.error.code]).toEqual([400, 'VALIDATION_FAILED'])
    })
  })

  describe('POST /redis/{databaseId}/pipeline', () => {
    test('400 a pattern without bounds, naming the command', async () => {
      const { status, body } = await pipeline([['PING'], ['SCAN', 0, 'COUNT', 1_001]])
      expect([status, body.error.code, body.error.details]).toEqual([
        400,
        'VALIDATION_FAILED',
        [{ field: 'command', rule: 'must have a COUNT of at most 1000', index: 1 }],
      ])
    })

    test('200 a result or an error for each, in order, and the rest runs', async () => {
      await raw.del('list', 'p')
      await raw.rpush('list', '1')
      const { status, body } = await pipeline([
        ['SET', 'p', '1'],
        ['INCR', 'list'],
        ['INCRBY', 'p', '9007199254740992'],
        ['GET', 'absent'],
      ])
      expect([status, body]).toEqual([
        200,
        {
          results: [
            { result: 'OK' },
            {
              error: {
                code: 'DB_QUERY_ERROR',
                message: expect.any(String),
                details: { code: 'WRONGTYPE', message: 'Operation against a key holding the wrong kind of value' },
              },
            },
            { result: { integer: '9007199254740993' } },
            { result: null },
          ],
        },
      ])
    })

    test('200 a thousand commands, each with its own reply', async () => {
      const { body } = await pipeline(Array.from({ length: 1_000 }, (_, n) => ['ECHO', `own ${n}`]))
      expect(body.results.map(({ result }: { result: string }) => result)).toEqual(
        Array.from({ length: 1_000 }, (_, n) => `own ${n}`),
      )
      expect((await pipeline(Array(1_001).fill(['PING']))).status).toBe(400)
      expect((await pipeline([])).status).toBe(400)
    })

    test('400 nothing runs where one of them may not, and details.index names it', async () => {
      await raw.del('never')
      const { status, body } = await pipeline([['SET', 'never', '1'], ['GET', 'a'], ['FLUSHALL']])
      expect([status, body.error.code, body.error.details]).toEqual([400, 'DB_UNSUPPORTED', { index: 2 }])
      expect(await raw.exists('never')).toBe(0)
    })

    test('200 many pipelines at once on few connections, none with another’s replies', async () => {
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          pipeline([
            ['ECHO', `mine ${n}`],
            ['SET', `own:${n}`, n],
            ['GET', `own:${n}`],
          ]),
        ),
      )
      expect(answers.map(({ body }) => body.results)).toEqual(
        answers.map((_, n) => [{ result: `mine ${n}` }, { result: 'OK' }, { result: String(n) }]),
      )
    })

    test('413 replies that are above the cap as JSON, where a control character is six', async () => {
      await raw.set('control', Buffer.alloc(12_000, 1))
      const get = ['GET', 'control']
      expect((await command(get)).status).toBe(413)
      expect((await command(get, '?encoding=base64')).status).toBe(200)
      await raw.set('control', Buffer.alloc(8_000, 1))
      expect((await command(get)).text.length).toBeLessThan(65_536)
      expect((await pipeline([get, get])).status).toBe(413)
      const written = await pipeline([['SET', 'after', '1'], get, get])
      expect([
        written.status,
        written.body.error.retryable,
        written.body.error.message,
        await raw.get('after'),
      ]).toEqual([
        413,
        false,
        'The reply is larger than one answer may be; the command has most likely run. Look before you try again.',
        '1',
      ])
      const transaction = { body: { commands: [get, get] } }
      expect((await app.request('POST', `/api/platform/redis/${id()}/transaction`, transaction)).status).toBe(413)
    })

    test('200 what is certain to be too large is not asked for, and the rest runs', async () => {
      await raw.del('long')
      const elements = Array(25_000).fill('')
      await raw.rpush('long', ...elements)
      await raw.set('wide', 'x'.repeat(200_000))
      const { body } = await pipeline([
        ['LRANGE', 'long', 0, -1],
        ['LRANGE', 'long', -2, -1],
        ['GET', 'wide'],
        ['GETRANGE', 'wide', -3, -1],
        ['MGET', 'wide', 'long'],
        ['HGETALL', 'long'],
      ])
      const codes = body.results.map(({ error, result }: { error?: { code: string }; result: unknown }) =>
        error ? error.code : result,
      )
      const large = 'RESULT_TOO_LARGE'
      expect(codes).toEqual([large, ['', ''], large, 'xxx', large, 'DB_QUERY_ERROR'])
    })

    test('413 replies above the cap in all', async () => {
      await raw.set('half', 'x'.repeat(30_000))
      expect(
        (
          await pipeline([
            ['GET', 'half'],
            ['GET', 'half'],
          ])
        ).status,
      ).toBe(200)
      const { status, body } = await pipeline(Array(80).fill(['GET', 'half']))
      expect([status, body.error.code]).toEqual([413, 'RESULT_TOO_LARGE'])
    })
  })
})
