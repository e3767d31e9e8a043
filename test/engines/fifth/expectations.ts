import type { Expectations } from '#test/engines/conformance.ts'
import { stores } from '#test/support/stores.ts'
import type { Memcached } from './server.ts'

const failed = (reason: string, stage: string) => ({ code: 'DB_CONNECTION_FAILED', reason, stage })

type Outcomes = Expectations['outcomes']
type Common = Omit<Outcomes, 'store of another engine' | 'TLS asked of a plain server' | 'no TLS to a TLS port'>

/** What the conformance suite expects of memcached, whose server `TEST_MEMCACHED` describes. */
export function ofMemcached(common: Common): Expectations {
  const server = JSON.parse(process.env['TEST_MEMCACHED'] ?? '') as Memcached
  return {
    product: 'memcached',
    role: 'standalone',
    sized: true,
    port: server.port,
    tlsPort: server.tlsPort,
    ca: stores().certificates.ca,
    otherPort: stores().postgres18.port,
    missingDatabase: null,
    url: ({ host = '127.0.0.1', port = server.port, password = server.password, tls }) =>
      `memcached${tls ? 's' : ''}://${server.user}:${password}@${host}:${port}`,
    outcomes: {
      ...common,
      'store of another engine': failed('closed', 'auth'),
      'TLS asked of a plain server': failed('tls', 'tls'),
      'no TLS to a TLS port': failed('closed', 'auth'),
      // It has no databases.
      'missing database': null,
    },
  }
}
