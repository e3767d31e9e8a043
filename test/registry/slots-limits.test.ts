import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { loadConfig } from '#src/config.ts'
import { limitsFor, maxSessionsFor } from '#src/limits.ts'

const watchers = { postgres: 0, redis: 1, mongodb: 2 } as const

test('sessions with full pools keep to MAX_*_CONNECTIONS, also where that is less than one pool', () => {
  fc.assert(
    fc.property(fc.integer({ min: 3, max: 10_000 }), fc.integer({ min: 1, max: 100 }), (sockets, pool) => {
      const config = loadConfig({
        MAX_POSTGRES_CONNECTIONS: String(sockets),
        MAX_REDIS_CONNECTIONS: String(sockets),
        MAX_MONGODB_CONNECTIONS: String(sockets),
        POSTGRES_MAX_POOL_SIZE: String(pool),
        REDIS_MAX_CONNECTIONS: String(pool),
        MONGODB_MAX_POOL_SIZE: String(pool),
      })
      for (const [kind, extra] of Object.entries(watchers)) {
        const { maxConnections } = limitsFor(config, kind)
        const sessions = maxSessionsFor(config, kind)
        expect([maxConnections >= 1, sessions >= 1, sessions * (maxConnections + extra) <= sockets]).toEqual([
          true,
          true,
          true,
        ])
      }
      expect(maxSessionsFor(config, 'bun_api')).toBe(Infinity)
    }),
  )
})

test('the defaults leave room for 40 databases of PostgreSQL, 50 of Redis and 28 of MongoDB', () => {
  const config = loadConfig({})
  expect(Object.keys(watchers).map((kind) => maxSessionsFor(config, kind))).toEqual([40, 50, 28])
})
