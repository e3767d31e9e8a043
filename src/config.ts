import { z } from 'zod'
import { checkServiceKey, parseKeyMaterial } from './credentials/key-material.ts'
import { type EgressRule, parseEgressRule } from './engines/egress.ts'
import { ApiError } from './errors.ts'
import { parseAddressRange } from './http/client-address.ts'

const text = z.string()
const integer = (min: number, max: number, fallback: number) =>
  z
    .string()
    .regex(/^\d{1,12}$/, { error: 'must be a whole number' })
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .default(fallback)
const flag = (fallback: boolean) => z.stringbool({ truthy: ['true', '1'], falsy: ['false', '0'] }).default(fallback)
const list = z.string().transform((value) =>
  value
    .split(',')
    .map((entry) => entry.trim())
    .filter(Boolean),
)
const url = (...protocols: string[]) =>
  text.refine((value) => protocols.some((protocol) => value.startsWith(`${protocol}//`)), {
    error: `must begin with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
  })
const web = url('http:', 'https:')
const sealingKey = text.transform((value, context) => {
  const parsed = parseKeyMaterial(value)
  if (parsed.ok) return parsed.bytes
  context.addIssue({ code: 'custom', message: parsed.problem })
  return z.NEVER
})
const sealingKeys = list.transform((values, context) => {
  const keys: Uint8Array[] = []
  let problem: string | undefined
  for (const value of values) {
    const parsed = parseKeyMaterial(value)
    if (parsed.ok) keys.push(parsed.bytes)
    else problem ??= parsed.problem
  }
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
  return keys
})
const serviceKey = text.superRefine((value, context) => {
  const message = checkServiceKey(value)
  if (message !== undefined) context.addIssue({ code: 'custom', message })
})
const egressRules = list.default([]).transform((entries, context) => {
  const rules: EgressRule[] = []
  for (const entry of entries) {
    const rule = parseEgressRule(entry)
    if (!('problem' in rule)) rules.push(rule)
  }
  if (rules.length < entries.length) {
    const message = 'must list CIDR ranges, addresses and host suffixes, each with an optional :port'
    context.addIssue({ code: 'custom', message })
  }
  return rules
})
const proxies = list.default([]).transform((entries, context) => {
  const ranges = entries.map((entry) => parseAddressRange(entry)).filter((range) => range !== undefined)
  if (ranges.length < entries.length)
    context.addIssue({ code: 'custom', message: 'must list addresses and CIDR ranges' })
  return ranges
})
const origins = list.default([]).refine((values) => values.every((value) => /^https?:\/\/[^/*]+$/.test(value)), {
  error: 'must list exact origins, such as https://studio.example.com',
})

/**
 * Every environment variable this server reads, with its check and default; `.env.example` documents the same set. Empty means unset.
 * Variables of the contract whose feature is not built yet are checked too, so that a deployment's settings stay valid.
 */
export const environment = z.object({
  PORT: integer(0, 65_535, 3000),
  HOST: text.optional(),
  WORKERS: integer(1, 64, 1),
  DATA_DIR: text.default('.data'),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  CORS_ORIGINS: origins,
  BUN_API_URL: web.optional(),

  DATABASE_URL: url('postgres:', 'postgresql:').optional(),
  DATABASE_REPLICA_URL: url('postgres:', 'postgresql:').optional(),
  CACHE_REDIS_URL: url('redis:', 'rediss:').optional(),
  CACHE_TTL: integer(0, 3600, 60),

  BUN_API_KEY: serviceKey.optional(),
  BUN_API_KEY_PREVIOUS: serviceKey.optional(),
  MULTI_DB_CRYPTO_KEY: sealingKey.optional(),
  MULTI_DB_CRYPTO_KEY_PREVIOUS: sealingKeys.optional(),
  REDIS_CRYPTO_KEY: sealingKey.optional(),
  MONGODB_CRYPTO_KEY: sealingKey.optional(),
  PG_META_CRYPTO_KEY: text.optional(),

  REDIS_URL: url('redis:', 'rediss:').optional(),
  MONGODB_URL: url('mongodb:', 'mongodb+srv:').optional(),
  ENABLE_REDIS_MANAGEMENT: flag(true),
  ENABLE_MONGODB_MANAGEMENT: flag(true),
  ENABLE_BUN_API_MANAGEMENT: flag(true),

  EGRESS_ALLOW: egressRules,
  EGRESS_DENY: egressRules,
  MONGODB_SRV_SUFFIXES: list
    .default(['mongodb.net'])
    .transform((suffixes) => suffixes.map((suffix) => suffix.toLowerCase())),
  TRUST_PROXY: proxies,

  MAX_POSTGRES_CONNECTIONS: integer(1, 10_000, 200),
  MAX_REDIS_CONNECTIONS: integer(1, 10_000, 200),
  MAX_MONGODB_CONNECTIONS: integer(1, 10_000, 200),
  POSTGRES_MAX_POOL_SIZE: integer(1, 100, 5),
  REDIS_MAX_CONNECTIONS: integer(1, 100, 3),
  MONGODB_MAX_POOL_SIZE: integer(1, 100, 5),
  REGISTRY_MAX_POOL_SIZE: integer(1, 100, 10),

  PROBE_TIMEOUT_MS: integer(500, 60_000, 5_000),
  REQUEST_TIMEOUT_MS: integer(500, 120_000, 10_000),
  QUERY_TIMEOUT_MAX_MS: integer(1_000, 600_000, 60_000),
  CONNECT_TIMEOUT_MS: integer(100, 60_000, 3_000),
  REDIS_COMMAND_TIMEOUT_MS: integer(100, 60_000, 2_000),
  REGISTRY_TIMEOUT_MS: integer(100, 60_000, 5_000),
  POOL_WAIT_TIMEOUT_MS: integer(0, 60_000, 1_000),
  POOL_IDLE_TIMEOUT_MS: integer(1_000, 3_600_000, 60_000),
  SHUTDOWN_DRAIN_MS: integer(0, 60_000, 8_000),

  MAX_IN_FLIGHT: integer(1, 100_000, 256),
  MAX_DATABASE_IN_FLIGHT: integer(1, 100_000, 128),
  MAX_STREAMS: integer(1, 100_000, 256),
  MAX_DATABASE_STREAMS: integer(1, 100_000, 32),

  MAX_URL_BYTES: integer(256, 15_000, 8_192),
  MAX_REGISTRY_BODY_BYTES: integer(1_024, 16_777_216, 1_048_576),
  MAX_ENGINE_BODY_BYTES: integer(1_024, 134_217_728, 8_388_608),
  MAX_RESPONSE_BYTES: integer(65_536, 134_217_728, 8_388_608),
  MAX_VALUE_BYTES: integer(1_024, 67_108_864, 1_048_576),
  MAX_IMPORT_BYTES: integer(1_048_576, 1_099_511_627_776, 1_073_741_824),
  MAX_SEALS_PER_KEY: integer(1, 4_294_967_296, 4_294_967_296),

  SUPABASE_URL: web.optional(),
  SUPABASE_JWT_SECRET: text.min(32).optional(),
  SUPABASE_SERVICE_KEY: text.min(32).optional(),
  JWKS_URL: web.optional(),
  JWT_ISSUER: text.optional(),
  JWT_AUDIENCE: text.default('authenticated'),
  PG_META_DATABASE: text.optional(),
  PG_META_TRUST_CRYPTO_KEY: flag(false),
  AUDIT_READS: z.enum(['fail-open', 'fail-closed']).default('fail-open'),
  RATE_READ_RPS: integer(1, 1_000_000, 100),
  RATE_WRITE_RPS: integer(1, 1_000_000, 20),
  RATE_TESTS_PER_MIN: integer(1, 1_000_000, 10),
  RATE_AUTH_FAILURES_PER_MIN: integer(1, 1_000_000, 10),
  RATE_ANONYMOUS_MAX: integer(1, 1_000_000, 100),
  RATE_ANONYMOUS_WINDOW_MS: integer(1_000, 86_400_000, 900_000),
  ERROR_WEBHOOK_URL: web.optional(),
})

type Environment = z.output<typeof environment>

/** The configuration, frozen. Production (a `DATABASE_URL`) always has both keys; embedded mode takes missing ones from `DATA_DIR`. */
export interface Config extends Readonly<Environment> {
  readonly mode: 'embedded' | 'production'
  /** `HOST`, else `::` in production (a private network may be IPv6 only) and loopback in embedded mode. */
  readonly hostname: string
}

/** Every problem of the environment in one message, a line each, and no value in any. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(`The configuration is not valid: ${problems.join('; ')}`)
    this.problems = problems
  }
}

/** What a variable's URL is read as; a URL our parser refuses is that variable's problem. */
export function naming<T>(variable: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw error instanceof ApiError ? new ConfigError([`${variable}: ${error.message}`]) : error
  }
}

const requiredInProduction = ['MULTI_DB_CRYPTO_KEY', 'BUN_API_KEY'] as const

/**
 * A copy of the process environment, from which libpq's variables are deleted: they are this process's own credentials (Railway's
 * PostgreSQL sets them), and drivers fall back to them.
 */
export function takeEnvironment(env: Record<string, string | undefined>): Readonly<Record<string, string | undefined>> {
  const taken = { ...env }
  for (const name of Object.keys(env)) if (name.startsWith('PG') && !name.startsWith('PG_META_')) delete env[name]
  return taken
}

/** Whether users are told by their tokens: without a secret and keys none is valid. */
function verifiesUsers({ SUPABASE_JWT_SECRET, JWKS_URL }: Environment): boolean {
  return SUPABASE_JWT_SECRET !== undefined || JWKS_URL !== undefined
}

/** The issuer users' tokens must have; `undefined` where none is configured. */
export function issuerOf({
  JWT_ISSUER,
  SUPABASE_URL,
}: Pick<Environment, 'JWT_ISSUER' | 'SUPABASE_URL'>): string | undefined {
  return JWT_ISSUER ?? (SUPABASE_URL === undefined ? undefined : `${SUPABASE_URL.replace(/\/+$/, '')}/auth/v1`)
}

/** Checks the environment once. Throws `ConfigError`. */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value.trim() !== ''),
  )
  const parsed = environment.safeParse(given)
  const problems = parsed.success ? [] : parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
  const production = given['DATABASE_URL'] !== undefined
  for (const name of production ? requiredInProduction : [])
    if (given[name] === undefined) problems.push(`${name}: is required with DATABASE_URL`)
  if (parsed.success && parsed.data.WORKERS > 1) {
    if (!production) problems.push('WORKERS: above 1 needs DATABASE_URL; the embedded registry is one process alone')
    // Elsewhere one of them gets every connection.
    if (process.platform !== 'linux') problems.push('WORKERS: above 1 needs Linux, which shares a port out')
  }
  if (parsed.success && verifiesUsers(parsed.data) && issuerOf(parsed.data) === undefined)
    problems.push('JWT_ISSUER: is required with SUPABASE_JWT_SECRET and JWKS_URL, unless SUPABASE_URL is given')
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems)
  return Object.freeze({
    ...parsed.data,
    mode: production ? 'production' : 'embedded',
    hostname: parsed.data.HOST ?? (production ? '::' : '127.0.0.1'),
  })
}
