import { z } from 'zod'
import { caCertificate } from '../config-keys.ts'
import type { EngineOptions } from '../engine.ts'

const defaultDatabases = 16
const maxDatabases = 10_000

/** Redis connection strings: the database number in the path, TLS by `rediss:`; no option is taken. */
export const options: EngineOptions = {
  allowed: {},
  ignored: new Set(['family', 'client_name', 'clientName', 'protocol', 'ssl_cert_reqs']),
  userRequired: false,
  severalHosts: false,
  database(path, config) {
    const count = typeof config['databases'] === 'number' ? config['databases'] : defaultDatabases
    if (path === '') return { name: '0' }
    if (!/^\d{1,5}$/.test(path)) return { problem: 'must have a database number after the host, such as /0' }
    if (Number(path) >= count)
      return { problem: `must have a database number below ${count}; config.databases says how many there are` }
    return { name: String(Number(path)) }
  },
  tlsOptions: [],
  tls: (protocol) => (protocol === 'rediss:' ? 'full' : 'off'),
  withTls(mode) {
    if (mode === 'off') return { protocol: 'redis:', options: {} }
    if (mode === 'full') return { protocol: 'rediss:', options: {} }
    return { problem: 'must be true or false for Redis; a private CA goes into config.caCertificate' }
  },
}

/** Keys of `config` a Redis database takes; `maxmemory` and `maxmemory_policy` are the owner's notes and never applied. */
export const config = z.strictObject({
  databases: z.int().min(1).max(maxDatabases).optional(),
  maxmemory: z.string().max(64).optional(),
  maxmemory_policy: z.string().max(64).optional(),
  caCertificate: caCertificate.optional(),
  readOnly: z.boolean().optional(),
  allowScripts: z.boolean().optional(),
})
