import { describe, expect, test } from 'bun:test'
import { ApiError } from '#src/errors.ts'
import { createLog } from '#src/log.ts'
import { canary } from '#test/support/credentials.ts'

function logged(error: unknown): { readonly line: string; readonly fields: Readonly<Record<string, unknown>> } {
  const lines: string[] = []
  createLog('info', { write: (line) => void lines.push(line) }).error('failed', { request_id: 'a' }, error)
  expect(lines).toHaveLength(1)
  const [line = ''] = lines
  return { line, fields: JSON.parse(line) as Record<string, unknown> }
}

describe('a log line of an error', () => {
  const secret = `postgres://user:${canary}@10.0.0.1/db`
  const errors: readonly (readonly [string, () => unknown])[] = [
    ['its message', () => new Error(secret)],
    ['a message over several lines', () => new Error(`failed\\n${secret}\\n`)],
    ['a message that looks like a stack', () => new Error(`failed\n    at ${secret}\n    at ${secret} (a.ts:1:1)`)],
    ['its properties', () => Object.assign(new Error('failed'), { query: secret, config: { password: canary } })],
    ['its name', () => Object.assign(new Error('failed'), { name: secret })],
    ['its code', () => Object.assign(new Error('failed'), { code: secret })],
    ['its cause', () => new Error('failed', { cause: new Error(`x\n    at ${secret}`, { cause: secret }) })],
    ['the cause of our own error', () => new ApiError('INTERNAL', 'Something failed.', { cause: new Error(secret) })],
    ['an aggregate', () => new AggregateError([new Error(secret)], secret)],
    ['thrown text', () => secret],
    ['a thrown object', () => ({ message: secret, code: secret, stack: secret })],
    [
      'a getter',
      () => ({
        get code() {
          return secret
        },
      }),
    ],
  ]
  for (const [name, make] of errors) {
    test(`never holds ${name}`, () => {
      expect(logged(make()).line).not.toContain(canary)
    })
  }

  test('tells class, code, frames and cause, and the message of our own errors', () => {
    const cause = Object.assign(new TypeError('no'), { code: 'ECONNREFUSED' })
    expect(logged(new ApiError('DB_TIMEOUT', 'Too slow.', { cause })).fields).toEqual({
      level: 'error',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      event: 'failed',
      request_id: 'a',
      error: 'ApiError',
      error_code: 'DB_TIMEOUT',
      error_message: 'Too slow.',
      stack: expect.arrayContaining([expect.stringContaining('log.test.ts')]),
      cause: 'TypeError',
      cause_code: 'ECONNREFUSED',
      cause_stack: expect.arrayContaining([expect.stringContaining('log.test.ts')]),
    })
  })

  test('is written from its level on', () => {
    const lines: string[] = []
    const log = createLog('warn', { write: (line) => void lines.push(line) })
    log.debug('a')
    log.info('b')
    log.warn('c')
    log.error('d')
    expect(lines.map((line) => (JSON.parse(line) as { event: string }).event)).toEqual(['c', 'd'])
  })
})
