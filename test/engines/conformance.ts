import { lookup } from 'node:dns/promises'
import type { EngineKind } from '#src/engines/index.ts'
import { canary, stores } from '#test/support/stores.ts'
import { bunApiPeer } from './bun-api-peer.ts'

/** A connection to build a string for; what is absent is the real store's. */
export interface Place {
  readonly host?: string
  readonly port?: number
  readonly password?: string
  readonly database?: string
  readonly tls?: 'unverified' | 'full'
}

/** What a failed connection test says. */
export interface Outcome {
  readonly code: string
  readonly reason?: string
  readonly stage: string
}

/** What is different from engine to engine, as explicit expectations; `null` says that the case can't exist. */
export interface Expectations {
  readonly product: string
  readonly role: string | null
  /** Whether it says how large it is. */
  readonly sized: boolean
  readonly port: number
  readonly tlsPort: number
  readonly ca: string
  readonly otherPort: number
  /** `null` where a database comes into being with its first use, or there is none. */
  readonly missingDatabase: (Place & { readonly config: Readonly<Record<string, unknown>> }) | null
  url(place: Place): string
  readonly outcomes: Readonly<Record<FailingCase, Outcome | null>>
}

/** Servers that are no store of this engine, or not the one that was meant. */
export type FailingCase =
  | 'wrong password'
  | 'closed port'
  | 'silent server'
  | 'web server'
  | 'SSH server'
  | 'store of another engine'
  | 'server that closes at once'
  | 'TLS asked of a plain server'
  | 'no TLS to a TLS port'
  | 'certificate of an unknown CA'
  | 'certificate for another host'
  | 'missing database'
  | 'unknown host name'

const failed = (reason: string, stage: string): Outcome => ({ code: 'DB_CONNECTION_FAILED', reason, stage })
const timeout = (stage: string): Outcome => ({ code: 'DB_TIMEOUT', reason: 'timeout', stage })

const common = {
  'wrong password': { code: 'DB_INVALID_CREDENTIALS', stage: 'auth' },
  'closed port': failed('refused', 'tcp'),
  'silent server': timeout('auth'),
  'web server': failed('protocol', 'auth'),
  'SSH server': failed('protocol', 'auth'),
  'server that closes at once': failed('closed', 'auth'),
  'certificate of an unknown CA': failed('tls', 'tls'),
  'certificate for another host': failed('tls', 'tls'),
  'missing database': { code: 'DB_CONNECTION_FAILED', stage: 'database' },
  'unknown host name': failed('dns', 'dns'),
} as const

/** Every engine's expectations; a new engine does not compile without its own. */
export function expectations(): Record<EngineKind, Expectations> {
  const { redis, postgres18, mongoAuth } = stores()
  if (redis === null) throw new Error('Redis is not running')
  if (mongoAuth === null) throw new Error('MongoDB is not running')
  const { root } = mongoAuth.users
  const peer = bunApiPeer()
  return {
    redis: {
      product: 'Redis',
      role: 'master',
      sized: true,
      port: redis.port,
      tlsPort: redis.tlsPort,
      ca: redis.tlsCa,
      otherPort: postgres18.port,
      missingDatabase: { database: '90', config: { databases: 100 } },
      url: ({ host = '127.0.0.1', port = redis.port, password = redis.password, database = '0', tls }) =>
        `${tls ? 'rediss' : 'redis'}://:${password}@${host}:${port}/${database}`,
      outcomes: {
        ...common,
        'store of another engine': failed('closed', 'auth'),
        // Redis reads a ClientHello as a command without end and waits.
        'TLS asked of a plain server': timeout('tls'),
        'no TLS to a TLS port': failed('closed', 'auth'),
      },
    },
    postgres: {
      product: 'PostgreSQL',
      role: 'primary',
      sized: true,
      port: postgres18.port,
      tlsPort: postgres18.port,
      ca: postgres18.tlsCa,
      otherPort: redis.port,
      missingDatabase: { database: 'no_such_database', config: {} },
      url: ({
        host = '127.0.0.1',
        port = postgres18.port,
        password = postgres18.password,
        database = 'postgres',
        tls,
      }) => {
        const mode = tls === undefined ? 'disable' : tls === 'full' ? 'verify-full' : 'require'
        return `postgresql://postgres:${encodeURIComponent(password)}@${host}:${port}/${database}?sslmode=${mode}`
      },
      outcomes: {
        ...common,
        // Redis reads a start-up packet as a command without end and waits.
        'store of another engine': timeout('auth'),
        'TLS asked of a plain server': failed('tls', 'tls'),
        // One port serves both.
        'no TLS to a TLS port': null,
      },
    },
    mongodb: {
      product: 'MongoDB',
      role: 'primary',
      sized: true,
      port: mongoAuth.port,
      tlsPort: mongoAuth.port,
      ca: mongoAuth.tlsCa,
      otherPort: redis.port,
      missingDatabase: null,
      url: ({ host = '127.0.0.1', port = mongoAuth.port, password = root.password, database = 'app', tls }) =>
        `mongodb://${root.username}:${encodeURIComponent(password)}@${host}:${port}/${database}?authSource=admin${tls ? '&tls=true' : ''}`,
      outcomes: {
        ...common,
        // Redis reads the length of a message as an inline command, and waits for its end.
        'store of another engine': timeout('auth'),
        'TLS asked of a plain server': failed('tls', 'tls'),
        // One port serves both.
        'no TLS to a TLS port': null,
        'missing database': null,
      },
    },
    bun_api: {
      product: 'bun-api',
      role: null,
      sized: false,
      port: peer.port,
      tlsPort: peer.tlsPort,
      ca: stores().certificates.ca,
      otherPort: redis.port,
      missingDatabase: null,
      url: ({ host = '127.0.0.1', port = peer.port, password = peer.key, tls }) =>
        `${tls ? 'https' : 'http'}://:${encodeURIComponent(password)}@${host}:${port}`,
      outcomes: {
        ...common,
        // It is asked for /health, and answers 400.
        'web server': failed('protocol', 'database'),
        'store of another engine': failed('closed', 'auth'),
        'TLS asked of a plain server': failed('tls', 'tls'),
        'no TLS to a TLS port': failed('closed', 'auth'),
        'missing database': null,
      },
    },
  }
}

export const wrongPassword = `${canary}-wrong`

/** `elsewhere.example` is this machine under a name no certificate has; everything else is the system's answer. */
export const resolve = async (host: string): Promise<readonly string[]> =>
  host === 'elsewhere.example' ? ['127.0.0.1'] : (await lookup(host, { all: true })).map(({ address }) => address)
