import { ApiError, invalid } from '../errors.ts'
import { checkHost, splitConnectionString, type ConnectionStringParts } from './connection-string.ts'
import type { Engine, TlsMode } from './engine.ts'
import type { Network } from './dial.ts'
import type { HostPort } from './srv.ts'

/** A parsed connection. Holds the password in clear: it lives in memory only, and never in a log, key or error. */
export interface TargetDescription {
  readonly kind: string
  readonly protocol: string
  /** The first of `hosts`. */
  readonly host: string
  readonly port: number
  readonly hosts: readonly HostPort[]
  /** Database name, or the logical database number; empty where the engine has none. */
  readonly database: string
  readonly user: string | null
  readonly password: string | null
  readonly tls: TlsMode
  readonly options: Readonly<Record<string, string>>
  readonly config: Readonly<Record<string, unknown>>
  /** What was ignored or is weak, in sentences for the owner. */
  readonly warnings: readonly string[]
}

/** A description bound to the dial policy: the only way from it to a socket. */
export interface Target extends TargetDescription, Network {}

/** The fields form of a connection; `tls: true` verifies chain and host name. */
export interface TargetFields {
  readonly host: string
  readonly port?: number | undefined
  readonly databaseName?: string | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly tls?: boolean | 'require' | 'verify-ca' | 'verify-full' | undefined
}

type Config = Readonly<Record<string, unknown>>

const maxHosts = 50

/** Reads a connection string by the engine's allow-list. Throws `VALIDATION_FAILED` naming the rule, and the option where one is refused. */
export function parseTarget(engine: Engine, connectionString: string, config: Config): TargetDescription {
  const parts = splitConnectionString(connectionString)
  if ('problem' in parts) throw invalid('connectionString', parts.problem)
  return describe(engine, parts.value, config, 'connectionString')
}

/** Builds the same description from the fields form. */
export function targetFromFields(engine: Engine, fields: TargetFields, config: Config): TargetDescription {
  const host = checkHost(fields.host)
  if ('problem' in host) throw invalid('host', host.problem)
  const mode: TlsMode =
    fields.tls === undefined || fields.tls === false
      ? 'off'
      : fields.tls === 'require'
        ? 'unverified'
        : fields.tls === 'verify-ca'
          ? 'ca'
          : 'full'
  const tls = engine.options.withTls(mode)
  if ('problem' in tls) throw invalid('tls', tls.problem)
  const parts: ConnectionStringParts = {
    protocol: tls.protocol,
    user: fields.username || undefined,
    password: fields.password || undefined,
    hosts: [{ host: host.value, port: fields.port }],
    path: fields.databaseName ?? '',
    options: Object.entries(tls.options),
  }
  return describe(engine, parts, config, 'host')
}

function describe(engine: Engine, parts: ConnectionStringParts, config: Config, field: string): TargetDescription {
  if (!engine.protocols.includes(parts.protocol))
    throw invalid(field, `must begin with ${engine.protocols.map((protocol) => `${protocol}//`).join(' or ')}`)
  const warnings: string[] = []
  const options: Record<string, string> = {}
  for (const [name, value] of parts.options) {
    const check = engine.options.allowed[name]
    if (Object.hasOwn(options, name)) throw refusedOption(field, name, 'is given twice')
    if (check && Object.hasOwn(engine.options.allowed, name)) {
      const problem = check(value)
      if (problem !== undefined) throw refusedOption(field, name, problem)
      options[name] = value
    } else if (engine.options.ignored.has(name)) warnings.push(`The option ${name} has no effect here and was ignored.`)
    else throw refusedOption(field, printable(name), 'is not allowed here')
  }
  const defaultPort = engine.schemePorts?.[parts.protocol] ?? engine.defaultPort
  const hosts = parts.hosts.map(({ host, port }) => ({ host, port: port ?? defaultPort }))
  const [first] = hosts
  if (first === undefined || (hosts.length > 1 && !engine.options.severalHosts))
    throw invalid(field, 'must name a single host')
  if (hosts.length > maxHosts) throw invalid(field, `must name at most ${maxHosts} hosts`)
  if (engine.options.userRequired && parts.user === undefined)
    throw invalid(field === 'host' ? 'username' : field, 'must name the user to connect as')
  const database = engine.options.database(parts.path, config)
  if ('problem' in database) throw invalid(field === 'host' ? 'databaseName' : field, database.problem)
  const problem = engine.options.problem?.(parts.protocol, hosts, options, parts)
  if (problem !== undefined) throw invalid(field, problem)
  const tls = engine.options.tls(parts.protocol, options)
  if (tls === 'unverified')
    warnings.push('TLS is used but the certificate is not verified; prefer sslmode=verify-full.')
  if (tls === 'off' && config['caCertificate'] !== undefined)
    warnings.push('config.caCertificate has no effect without TLS.')
  return {
    kind: engine.kind,
    protocol: parts.protocol,
    ...first,
    hosts,
    database: database.name,
    user: parts.user ?? null,
    password: parts.password ?? null,
    tls,
    options,
    config,
    warnings,
  }
}

/** The connection string of our own making that is sealed in the registry. */
export function formatTarget(target: TargetDescription): string {
  return format(target, target.password === null ? null : encodeURIComponent(target.password))
}

/** The same with the password as `****`, safe to show. */
export function maskTarget(target: TargetDescription): string {
  return format(target, target.password === null ? null : '****')
}

function format(target: TargetDescription, password: string | null): string {
  const user = target.user === null ? '' : encodeURIComponent(target.user)
  const userInfo = password === null ? user && `${user}@` : `${user}:${password}@`
  const hosts = target.hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',')
  const path = target.database === '' ? '' : `/${encodeURIComponent(target.database)}`
  const options = Object.entries(target.options).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  return `${target.protocol}//${userInfo}${hosts}${path}${options.length ? `?${options.join('&')}` : ''}`
}

function refusedOption(field: string, option: string, rule: string): ApiError {
  return new ApiError('VALIDATION_FAILED', `${field}: the option ${option} ${rule}.`, {
    details: [{ field, option, rule }],
  })
}

// An option's name may be anything a caller typed, so only its plain beginning is repeated.
function printable(name: string): string {
  return /^[A-Za-z0-9_.-]{1,64}$/.test(name) ? name : 'with the unusual name'
}
