import { z } from 'zod'
import { caCertificate } from '#src/engines/config-keys.ts'
import type { EngineOptions } from '#src/engines/engine.ts'

/** memcached connection strings: TLS by `memcacheds:`; there is no database and no option. */
export const options: EngineOptions = {
  allowed: {},
  ignored: new Set(),
  userRequired: false,
  severalHosts: false,
  database: (path) => (path === '' ? { name: '' } : { problem: 'must end after the host: memcached has no databases' }),
  tlsOptions: [],
  tls: (protocol) => (protocol === 'memcacheds:' ? 'full' : 'off'),
  withTls(mode) {
    if (mode === 'off') return { protocol: 'memcached:', options: {} }
    if (mode === 'full') return { protocol: 'memcacheds:', options: {} }
    return { problem: 'must be true or false for memcached; a private CA goes into config.caCertificate' }
  },
}

/** Keys of `config` a memcached takes. */
export const config = z.strictObject({ caCertificate: caCertificate.optional(), readOnly: z.boolean().optional() })
