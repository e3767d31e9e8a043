import { SignJWT } from 'jose'
import { authorize } from '#src/access/authorize.ts'
import { createRateLimits } from '#src/access/rate-limits.ts'
import { type App, createApp } from '#src/app.ts'
import { loadConfig } from '#src/config.ts'
import { createDeps, type Deps } from '#src/deps.ts'
import { identification } from '#src/http/auth.ts'
import type { Declaration } from '#src/http/contract.ts'
import { RequestState } from '#src/http/request-state.ts'
import { createLog } from '#src/log.ts'
import { cpuOf } from './layers.ts'
import { spreadOf } from './measure.ts'
import { printTable, round } from './report.ts'
import { makeKeys } from './server.ts'
import { redisKey, type Stage } from './stage.ts'

/** What one kind of caller costs, in microseconds of CPU for each Redis GET in this process without a socket. */
export interface AccessCost {
  readonly caller: string
  /** Who it is, its budget, and whether it may. */
  readonly access: number
  readonly identify: number
  readonly limits: number
  readonly authorize: number
  /** The request as a whole. */
  readonly request: number
  /** Of `access` in `request`. */
  readonly share: number
}

const platform = '/api/platform'
const user = '3f8b6c1e-6d0a-4a57-9b0e-0d6f0c9a7c11'
const declaration: Declaration = { access: 'read', operation: 'read' }

const rounds = 4

/** The most that access may take of a Redis GET. */
export const goal = 0.15

/** Callers are known: what the first request of each costs is a verification a minute. */
export async function measureAccess({ registry, keys, ids }: Stage, seconds: number): Promise<readonly AccessCost[]> {
  const { redis } = ids
  if (redis === undefined) return []
  const secret = makeKeys().BUN_API_KEY
  const issuer = 'https://bench.test/auth/v1'
  const config = loadConfig({
    ...keys,
    DATABASE_URL: registry.url,
    EGRESS_ALLOW: '127.0.0.0/8',
    SUPABASE_JWT_SECRET: secret,
    JWT_ISSUER: issuer,
    RATE_READ_RPS: '1000000',
    RATE_WRITE_RPS: '1000000',
  })
  await using deps = await createDeps(config, { log: createLog('silent') })
  const app = createApp(deps)
  const send = async (method: string, path: string, body: object) => {
    const headers = { authorization: `Bearer ${keys.BUN_API_KEY}`, 'content-type': 'application/json' }
    const answer = await app.request(platform + path, { method, headers, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}: ${await answer.text()}`)
    return (await answer.json()) as Readonly<Record<string, unknown>>
  }
  const key = await send('POST', '/api-keys', { name: 'bench', projectRef: 'default', role: 'read' })
  await send('PUT', `/databases/${redis}/permissions/${user}`, { role: 'read' })
  const token = await new SignJWT({ sub: user, iss: issuer, aud: 'authenticated' })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('1h')
    .sign(Buffer.from(secret))
  const callers = { 'service key': keys.BUN_API_KEY, 'scoped key': String(key['secret']), user: token }

  const url = `http://localhost${platform}/redis/${redis}/get?key=${redisKey}`
  const requests = Object.entries(callers).map(([caller, credential]) => ({
    caller,
    request: new Request(url, { headers: { authorization: `Bearer ${credential}` } }),
  }))
  const wholes = new Map<string, number[]>(requests.map(({ caller }) => [caller, []]))
  // In turn, so that a machine that grows slower is unfair to all alike.
  for (let turn = 0; turn < rounds; turn++)
    for (const { caller, request } of requests)
      wholes.get(caller)?.push(await cpuOf(() => read(app, request), seconds / rounds))
  const costs: AccessCost[] = []
  for (const { caller, request } of requests) {
    const parts = await partsOf(deps, request, redis, seconds)
    const access = parts.identify + parts.limits + parts.authorize
    const whole = spreadOf(wholes.get(caller) ?? []).median
    costs.push({
      caller,
      access: round(access, 2),
      identify: round(parts.identify, 2),
      limits: round(parts.limits, 2),
      authorize: round(parts.authorize, 2),
      request: round(whole, 2),
      share: round(access / whole, 3),
    })
  }
  return costs
}

async function read(app: App, request: Request): Promise<void> {
  const answer = await app.fetch(new Request(request))
  const text = await answer.text()
  if (!answer.ok) throw new Error(`GET ${request.url} answered ${answer.status}: ${text.slice(0, 300)}`)
}

/** Each as its own function, less the loop that calls it; the caller is known already. */
async function partsOf(deps: Deps, request: Request, databaseId: string, seconds: number) {
  const identify = identification(deps.serviceKeys)
  // Asked alone they are asked more often than any server's allow.
  await using limits = createRateLimits({ config: { ...deps.config, RATE_READ_RPS: 1e9 }, log: deps.log })
  const state = new RequestState(deps, request, undefined)
  state.declaration = declaration
  state.principal = await identify(state)
  const loop = await cpuOf(() => undefined, seconds)
  const cost = async (work: () => unknown) => Math.max(0, (await cpuOf(work, seconds)) - loop)
  return {
    identify: await cost(() => identify(state)),
    limits: await cost(() => limits.check(state.principal, declaration, databaseId)),
    authorize: await cost(() => authorize(state, 'database', databaseId)),
  }
}

export function printAccess(costs: readonly AccessCost[]): void {
  console.log('\nCPU time of access in a Redis GET, in this process, without a socket, in microseconds\n')
  printTable(
    ['caller', 'who', 'limits', 'role', 'together', 'whole request', 'share', `below ${goal * 100} %`],
    costs.map(({ caller, access, request, share, ...parts }) => [
      caller,
      ...[parts.identify, parts.limits, parts.authorize, access, request].map((value) => value.toFixed(1)),
      `${(share * 100).toFixed(1)} %`,
      share < goal ? 'yes' : 'no',
    ]),
  )
}
