import { z } from 'zod'
import { caCertificate } from '../config-keys.ts'
import type { EngineOptions } from '../engine.ts'

/** Ports that a URL, and the Host header, leave out. */
export const defaultPorts: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 }

/** URLs of other Bun API servers: a base path if there is one, the key as the password, no options. */
export const options: EngineOptions = {
  allowed: {},
  ignored: new Set(),
  userRequired: false,
  severalHosts: false,
  database(path) {
    const base = path.replace(/\/+$/, '')
    if (base.split('/').some((segment) => segment === '.' || segment === '..'))
      return { problem: 'must not hold . or .. in its path' }
    return { name: base }
  },
  tlsOptions: [],
  tls: (protocol) => (protocol === 'https:' ? 'full' : 'off'),
  problem: (_protocol, _hosts, _options, { user, password }) =>
    user !== undefined && password === undefined
      ? 'must give the key as the password, as in https://:key@host'
      : undefined,
  withTls(mode) {
    if (mode === 'off') return { protocol: 'http:', options: {} }
    if (mode === 'full') return { protocol: 'https:', options: {} }
    return { problem: 'must be true or false for a Bun API server; a private CA goes into config.caCertificate' }
  },
}

/** Keys of `config` a Bun API server takes. */
export const config = z.strictObject({ caCertificate: caCertificate.optional(), readOnly: z.boolean().optional() })
