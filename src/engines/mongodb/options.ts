import { z } from 'zod'
import { caCertificate } from '../config-keys.ts'
import type { EngineOptions } from '../engine.ts'

const boolean = (value: string) => (value === 'true' || value === 'false' ? undefined : 'must be true or false')
const readPreferences = ['primary', 'primaryPreferred', 'secondary', 'secondaryPreferred', 'nearest'] as const
// PLAIN sends the password in clear; OIDC, AWS, GSSAPI and X509 would use this server's own identity.
const mechanisms = ['SCRAM-SHA-1', 'SCRAM-SHA-256'] as const
const oneOf = (values: readonly string[]) => (value: string) =>
  values.includes(value) ? undefined : `must be one of ${values.join(', ')}`
/** The port of a host that names none. */
export const defaultPort = 27_017
/** Of one pipeline; those inside a stage count for themselves. */
export const maxStages = 50
/** Names MongoDB takes for a database. */
export const databaseName = /^[^/\\. "$*<>:|?\0]{1,63}$/

/** MongoDB connection strings: replica sets as several hosts, `mongodb+srv` by suffix, and the few options that are safe to take. */
export const options: EngineOptions = {
  allowed: {
    replicaSet: (value) => (/^[\w.-]{1,128}$/.test(value) ? undefined : 'must be the name of a replica set'),
    authSource: (value) =>
      databaseName.test(value) && value !== '$external' ? undefined : 'must be the name of a database',
    authMechanism: oneOf(mechanisms),
    tls: boolean,
    ssl: boolean,
    readPreference: oneOf(readPreferences),
    w: (value) => (/^(majority|\d{1,2})$/.test(value) ? undefined : 'must be majority or a number'),
    retryWrites: boolean,
    directConnection: boolean,
  },
  ignored: new Set([
    'appName',
    'appname',
    'compressors',
    'connectTimeoutMS',
    'heartbeatFrequencyMS',
    'maxIdleTimeMS',
    'maxPoolSize',
    'minPoolSize',
    'retryReads',
    'serverSelectionTimeoutMS',
    'socketTimeoutMS',
    'timeoutMS',
    'waitQueueTimeoutMS',
    'zlibCompressionLevel',
  ]),
  userRequired: false,
  severalHosts: true,
  database(path) {
    if (path === '') return { name: '' }
    return databaseName.test(path) ? { name: path } : { problem: 'must name a database after the host, such as /app' }
  },
  tlsOptions: ['tls', 'ssl'],
  tls(protocol, given) {
    const flag = given['tls'] ?? given['ssl']
    if (flag === undefined) return protocol === 'mongodb+srv:' ? 'full' : 'off'
    return flag === 'true' ? 'full' : 'off'
  },
  problem(protocol, hosts, given) {
    if (given['tls'] !== undefined && given['ssl'] !== undefined && given['tls'] !== given['ssl'])
      return 'must not give tls and ssl different values'
    if (given['directConnection'] === 'true' && hosts.length > 1)
      return 'must name a single host with directConnection=true'
    if (protocol !== 'mongodb+srv:') return undefined
    if (given['directConnection'] === 'true') return 'must not combine mongodb+srv with directConnection=true'
    return hosts.length === 1 && hosts[0]?.port === defaultPort
      ? undefined
      : 'must name a single host without a port with mongodb+srv; the SRV record has the ports'
  },
  withTls(mode) {
    if (mode === 'off') return { protocol: 'mongodb:', options: { tls: 'false' } }
    if (mode === 'full') return { protocol: 'mongodb:', options: { tls: 'true' } }
    return { problem: 'must be true or false for MongoDB; a private CA goes into config.caCertificate' }
  },
}

/** Keys of `config` a MongoDB database takes: driver options, which lose to the connection string, and our own. */
export const config = z.strictObject({
  authSource: z.string().regex(databaseName, { error: 'must be the name of a database' }).optional(),
  retryWrites: z.boolean().optional(),
  w: z.union([z.literal('majority'), z.int().min(0).max(50)], { error: 'must be "majority" or a number' }).optional(),
  readPreference: z.enum(readPreferences, { error: `must be one of ${readPreferences.join(', ')}` }).optional(),
  caCertificate: caCertificate.optional(),
  readOnly: z.boolean().optional(),
})
