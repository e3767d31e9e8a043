import { z } from 'zod'
import type { EngineOptions, TlsMode } from '../engine.ts'
import { caCertificate } from '../config-keys.ts'

const modes: Readonly<Record<string, TlsMode>> = {
  disable: 'off',
  require: 'unverified',
  'verify-ca': 'ca',
  'verify-full': 'full',
}
const maxNameBytes = 63

/** PostgreSQL connection strings: the database in the path, `sslmode` and `application_name`; harmless options of other clients are ignored. */
export const options: EngineOptions = {
  allowed: {
    sslmode: (value) =>
      Object.hasOwn(modes, value) ? undefined : 'must be disable, require, verify-ca or verify-full',
    application_name: (value) =>
      /^[\x20-\x7e]{1,63}$/.test(value) ? undefined : 'must be 1 to 63 printable ASCII characters',
  },
  ignored: new Set([
    'channel_binding',
    'connect_timeout',
    'connection_limit',
    'pgbouncer',
    'pool_timeout',
    'schema',
    'sslnegotiation',
    'statement_cache_size',
    'supa',
    'uselibpqcompat',
  ]),
  userRequired: true,
  severalHosts: false,
  database(path) {
    if (path.includes('/')) return { problem: 'must name one database after the host, such as /postgres' }
    if (Buffer.byteLength(path) > maxNameBytes)
      return { problem: `must name a database of at most ${maxNameBytes} bytes` }
    return { name: path === '' ? 'postgres' : path }
  },
  tlsOptions: ['sslmode'],
  tls: (_protocol, given) => modes[given['sslmode'] ?? 'disable'] ?? 'off',
  withTls(mode) {
    const sslmode = Object.entries(modes).find(([, value]) => value === mode)?.[0] ?? 'disable'
    return { protocol: 'postgresql:', options: { sslmode } }
  },
}

/** Keys of `config` a PostgreSQL database takes. */
export const config = z.strictObject({ caCertificate: caCertificate.optional(), readOnly: z.boolean().optional() })
