import { isDeepStrictEqual } from 'node:util'
import type { Engine } from '../engines/engine.ts'
import { ApiError, invalid } from '../errors.ts'
import {
  formatTarget,
  parseTarget,
  type TargetDescription,
  type TargetFields,
  targetFromFields,
} from '../engines/target.ts'

export type ConfigKeys = Readonly<Record<string, unknown>>

/** A connection as a caller gives it: one string, or fields. */
export interface ConnectionInput {
  readonly connectionString?: string | undefined
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly databaseName?: string | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly tls?: TargetFields['tls']
}

// Keys of `config` that say who is handed the credential.
const placeKeys = ['caCertificate', 'topology', 'nodes', 'sentinelMaster', 'sentinelAuth'] as const
// Those and what else is part of how a target is reached and logged in to.
const reachingKeys = [...placeKeys, 'authSource'] as const

const fieldNames = ['host', 'port', 'databaseName', 'username', 'password', 'tls'] as const

/** Whether anything of the target is given; `config`, which may hold a CA, is not looked at. */
export function namesTarget(input: ConnectionInput): boolean {
  return input.connectionString !== undefined || fieldNames.some((name) => input[name] !== undefined)
}

/** Reads a whole target. Throws `VALIDATION_FAILED` when both forms are given, or neither. */
export function describeInput(engine: Engine, input: ConnectionInput, config: ConfigKeys): TargetDescription {
  const named = fieldNames.filter((name) => input[name] !== undefined)
  if (input.connectionString !== undefined) {
    if (named[0] !== undefined) throw invalid(named[0], 'must not stand beside connectionString')
    return parseTarget(engine, input.connectionString, config)
  }
  if (input.host === undefined) throw invalid('connectionString', 'is required, or host and the other fields')
  return targetFromFields(engine, { ...input, host: input.host }, config)
}

/** Fields of a PATCH over the stored ones; the stored password goes along only as far as `requireWholeCredential` lets it. */
export function mergeInput(
  engine: Engine,
  before: TargetDescription,
  input: ConnectionInput,
  config: ConfigKeys,
): TargetDescription {
  if (input.connectionString !== undefined) return describeInput(engine, input, config)
  if (!namesTarget(input)) return parseTarget(engine, formatTarget(before), config)
  const fields = targetFromFields(engine, { ...fieldsOf(before), ...given(input) }, config)
  const options =
    fields.tls === before.tls ? before.options : { ...withoutTls(engine, before.options), ...fields.options }
  const merged = {
    ...fields,
    // A replica set stays whole unless another host is given, and a scheme unless it says another TLS mode.
    hosts: input.host === undefined && input.port === undefined ? before.hosts : fields.hosts,
    protocol: engine.options.tls(before.protocol, options) === fields.tls ? before.protocol : fields.protocol,
    options,
  }
  // What is saved has to read back as what is meant, whatever the parts were.
  return parseTarget(engine, formatTarget(merged), config)
}

const modes = { off: false, unverified: 'require', ca: 'verify-ca', full: 'verify-full' } as const

function fieldsOf(target: TargetDescription): TargetFields {
  return {
    host: target.host,
    port: target.port,
    databaseName: target.database,
    username: target.user ?? undefined,
    password: target.password ?? undefined,
    tls: modes[target.tls],
  }
}

function given(input: ConnectionInput): Partial<TargetFields> {
  return Object.fromEntries(fieldNames.flatMap((name) => (input[name] === undefined ? [] : [[name, input[name]]])))
}

function withoutTls(engine: Engine, options: TargetDescription['options']): TargetDescription['options'] {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !engine.options.tlsOptions.includes(name)))
}

/** Whether both are reached in the same way with the same credential. */
export function sameTarget(one: TargetDescription, other: TargetDescription): boolean {
  return formatTarget(one) === formatTarget(other) && sameKeys(reachingKeys, one, other)
}

/** Throws `VALIDATION_FAILED` where a new host, port, node, TLS mode or CA would be handed the stored password. */
export function requireWholeCredential(
  before: TargetDescription,
  after: TargetDescription,
  input: ConnectionInput,
): void {
  const moved =
    before.host !== after.host ||
    before.port !== after.port ||
    before.tls !== after.tls ||
    !sameKeys(placeKeys, before, after)
  const given = input.password !== undefined || input.connectionString !== undefined
  if (moved && !given && before.password !== null) {
    throw invalid('password', 'is required again when host, port, TLS mode or CA change')
  }
}

/** The keys of `config` as the engine takes them. Throws `VALIDATION_FAILED` naming each wrong one. */
export function checkConfig(engine: Engine, config: ConfigKeys): ConfigKeys {
  const parsed = engine.config.safeParse(config)
  if (parsed.success) return parsed.data
  const details = parsed.error.issues.flatMap((issue) => {
    const field = ['config', ...issue.path].join('.')
    if (issue.code !== 'unrecognized_keys') return [{ field, rule: issue.message }]
    return issue.keys.map((key) => ({ field: `${field}.${key.slice(0, 64)}`, rule: 'is not a key of this type' }))
  })
  throw new ApiError('VALIDATION_FAILED', `${details[0]?.field}: ${details[0]?.rule}.`, { details })
}

function sameKeys(keys: readonly string[], one: TargetDescription, other: TargetDescription): boolean {
  return keys.every((key) => isDeepStrictEqual(one.config[key], other.config[key]))
}
