import { describe, expect, test } from 'bun:test'
import type { Engine } from '#src/engines/engine.ts'
import { engines } from '#src/engines/index.ts'
import { formatTarget, parseTarget } from '#src/engines/target.ts'
import type { ApiError } from '#src/errors.ts'
import { type ConnectionInput, mergeInput, sameTarget } from '#src/registry/connection-input.ts'

const { mongodb, postgres, redis } = engines
const patch = (engine: Engine, stored: string, input: ConnectionInput) =>
  formatTarget(mergeInput(engine, parseTarget(engine, stored, {}), input, {}))

describe('fields of a PATCH over what is stored', () => {
  const set = 'mongodb://u:p@a:27017,b:27018,c:27019/app?replicaSet=rs0'
  for (const [what, engine, stored, input, expected] of [
    ['a password keeps all hosts', mongodb, set, { password: 'n' }, set.replace(':p@', ':n@')],
    ['a database keeps all hosts', mongodb, set, { databaseName: 'x' }, set.replace('/app', '/x')],
    ['a host replaces them all', mongodb, set, { host: 'd' }, 'mongodb://u:p@d:27017/app?replicaSet=rs0'],
    ['tls over ssl', mongodb, 'mongodb://a:1/x?ssl=false', { tls: true }, 'mongodb://a:1/x?tls=true'],
    ['no tls over tls', mongodb, 'mongodb://a:1/x?tls=true', { tls: false }, 'mongodb://a:1/x?tls=false'],
    [
      'no tls over +srv keeps the scheme',
      mongodb,
      'mongodb+srv://a.mongodb.net/x',
      { tls: false },
      'mongodb+srv://a.mongodb.net:27017/x?tls=false',
    ],
    ['tls of Redis is its scheme', redis, 'redis://:p@a:1/2', { tls: true }, 'rediss://:p@a:1/2'],
    [
      'a user keeps the options',
      postgres,
      'postgres://u:p@a:1/d?sslmode=require&application_name=x',
      { username: 'v' },
      'postgres://v:p@a:1/d?sslmode=require&application_name=x',
    ],
    [
      'verified TLS replaces sslmode alone',
      postgres,
      'postgres://u:p@a:1/d?sslmode=require&application_name=x',
      { tls: true },
      'postgres://u:p@a:1/d?application_name=x&sslmode=verify-full',
    ],
  ] as const) {
    test(what, () => {
      const merged = patch(engine, stored, input)
      expect(merged).toBe(expected)
      expect(formatTarget(parseTarget(engine, merged, {}))).toBe(merged)
    })
  }

  test('400 a port over +srv, which its record has', () => {
    const attempt = () => patch(mongodb, 'mongodb+srv://a.mongodb.net/x', { port: 27018 })
    expect(attempt).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED' }) as unknown as ApiError)
  })

  test('any key of config may be part of how a target is reached', () => {
    const at = (config: Record<string, unknown>) => parseTarget(mongodb, 'mongodb://u:p@a:1/x', config)
    expect(sameTarget(at({ authSource: 'a' }), at({ authSource: 'b' }))).toBe(false)
    expect(sameTarget(at({ authSource: 'a', w: 1 }), at({ w: 1, authSource: 'a' }))).toBe(true)
  })
})
