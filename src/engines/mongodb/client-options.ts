import type { Limits } from '../engine.ts'
import type { Target } from '../target.ts'
import type { MongoClientOptions } from './driver.ts'
import { losslessTypes } from './values.ts'

const serverSelectionTimeoutMs = 2_000

type Given = Readonly<Record<string, unknown>>

/** The driver's options, made of what is `given` by configuration, TXT record and connection string, the later winning. */
export function clientOptions(target: Target, limits: Limits, given: Given, seeds: number): MongoClientOptions {
  const text = (name: string) => (given[name] === undefined ? undefined : String(given[name]))
  const flag = (name: string) => (given[name] === undefined ? undefined : text(name) === 'true')
  const certificate = target.config['caCertificate']
  const w = text('w')
  return defined({
    appName: 'bun-api',
    auth: target.user === null ? undefined : { username: target.user, password: target.password ?? '' },
    authSource: target.user === null ? undefined : (text('authSource') ?? (target.database || 'admin')),
    authMechanism: text('authMechanism') as MongoClientOptions['authMechanism'],
    replicaSet: text('replicaSet'),
    directConnection: isDirect(given, seeds),
    readPreference: text('readPreference') as MongoClientOptions['readPreference'],
    retryWrites: flag('retryWrites'),
    retryReads: false,
    writeConcern: w === undefined ? undefined : { w: /^\d+$/.test(w) ? Number(w) : w },
    tls: target.tls !== 'off',
    ca: typeof certificate === 'string' && target.tls !== 'off' ? certificate : undefined,
    maxPoolSize: limits.maxConnections,
    minPoolSize: 0,
    maxIdleTimeMS: limits.idleTimeoutMs,
    // The driver gives up before the caller does, so that the answer says what is wrong with the server.
    serverSelectionTimeoutMS: Math.min(serverSelectionTimeoutMs, Math.ceil(limits.commandTimeoutMs * 0.75)),
    connectTimeoutMS: limits.connectTimeoutMs,
    socketTimeoutMS: Math.ceil(limits.commandTimeoutMs / 2),
    // 0 would be without end.
    waitQueueTimeoutMS: Math.max(1, limits.waitTimeoutMs),
    monitorCommands: false,
    ...losslessTypes,
  }) as MongoClientOptions
}

/** Whether the one seed is all there is: unless told otherwise, when it is alone and no replica set is named. */
function isDirect(given: Given, seeds: number): boolean {
  const asked = given['directConnection']
  return seeds === 1 && (asked === undefined ? given['replicaSet'] === undefined : String(asked) === 'true')
}

function defined<T extends object>(record: T): T {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T
}
