import { z } from 'zod'
import { caCertificate } from '../config-keys.ts'
import { splitConnectionString } from '../connection-string.ts'
import type { EngineOptions } from '../engine.ts'
import type { HostPort } from '../srv.ts'

/** Databases a server has unless `config.databases` says otherwise. */
export const defaultDatabases = 16
/** The port of a host that names none. */
export const defaultPort = 6379
const maxDatabases = 10_000
const maxNodes = 50

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
    if (config['topology'] === 'cluster' && Number(path) !== 0)
      return { problem: 'must name database 0; a Redis Cluster has no other' }
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

/** How a database's servers stand to each other. */
export const topologies = ['single', 'sentinel', 'cluster'] as const

/** Keys of `config` a Redis database takes; `maxmemory` and `maxmemory_policy` are the owner's notes and never applied. */
export const config = z
  .strictObject({
    databases: z.int().min(1).max(maxDatabases).optional(),
    maxmemory: z.string().max(64).optional(),
    maxmemory_policy: z.string().max(64).optional(),
    caCertificate: caCertificate.optional(),
    readOnly: z.boolean().optional(),
    allowScripts: z.boolean().optional(),
    topology: z.enum(topologies, { error: `must be one of ${topologies.join(', ')}` }).optional(),
    nodes: z
      .array(
        z
          .string()
          .max(300)
          .refine((text) => readNode(text) !== undefined, { error: 'must be host:port' }),
      )
      .max(maxNodes)
      .optional(),
    sentinelMaster: z
      .string()
      .regex(/^[\w.-]{1,128}$/, { error: 'must be the name the sentinels know the primary by' })
      .optional(),
    sentinelAuth: z.boolean().optional(),
  })
  .superRefine((given, context) => {
    const { topology = 'single' } = given
    const wrong = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message })
    if (topology === 'sentinel' && given.sentinelMaster === undefined)
      wrong('sentinelMaster', 'is required with the topology sentinel')
    for (const key of ['sentinelMaster', 'sentinelAuth'] as const)
      if (topology !== 'sentinel' && given[key] !== undefined) wrong(key, 'is for the topology sentinel alone')
    if (topology === 'single' && given.nodes !== undefined) wrong('nodes', 'is for the topologies sentinel and cluster')
  })

/** One of `config.nodes`: a host, with a port or without; `undefined` where it is anything else. */
export function readNode(text: string): HostPort | undefined {
  const split = splitConnectionString(`redis://${text}`)
  if ('problem' in split) return undefined
  const { user, password, hosts, path, options } = split.value
  const [host, ...more] = hosts
  if (user !== undefined || password !== undefined || path !== '' || options.length > 0 || more.length > 0)
    return undefined
  return host && { host: host.host, port: host.port ?? defaultPort }
}
