import { timingSafeEqual } from 'node:crypto'
import { getPath } from 'hono/utils/url'
import { anonymous, type Principal, serviceKey } from '../access/principal.ts'
import { isTokenLike } from '../access/tokens.ts'
import { prefixOf } from '../access/api-key-secret.ts'
import { ApiError } from '../errors.ts'
import { clientAddress } from './client-address.ts'
import type { RequestState } from './request-state.ts'
import { docsAssets } from './static/assets.ts'

/** Open, and asked by machines and pages so often that nobody is counted. */
export const uncountedPaths: ReadonlySet<string> = new Set(['/health', '/health/ready', ...docsAssets.keys()])

/** Paths anybody may read; everything else, unknown paths included, needs a key or a token. */
export const openPaths: ReadonlySet<string> = new Set([
  '/health',
  '/health/ready',
  '/openapi.json',
  '/docs',
  ...docsAssets.keys(),
])

/** Tells who asks; synchronous for the service key and for whom is known. Throws `UNAUTHENTICATED`. */
export type Identify = (state: RequestState) => Principal | Promise<Principal>

/**
 * The first present of `Authorization: Bearer`, `apikey` and `x-api-key` decides; if that one is wrong, the others are not tried. Beside a
 * key a user's token in `x-forwarded-authorization` says for whom it acts: Studio forwards who is signed in.
 */
export function identification(serviceKeys: readonly string[]): Identify {
  const digests = serviceKeys.map(digestOf)
  // As they came: to find one tells nothing of how near another was.
  const proven = new Set<string>()
  return function identify(state) {
    const { headers } = state.request
    const authorization = headers.get('authorization')
    if (authorization !== null && proven.has(authorization)) return serviceOrUser(state)
    const given = authorization === null ? (headers.get('apikey') ?? headers.get('x-api-key')) : bearer(authorization)
    if (given === null) return stranger(state, missing)
    const digest = digestOf(given)
    if (matches(digests, digest)) {
      if (authorization !== null && proven.size < maxProven) proven.add(authorization)
      return serviceOrUser(state)
    }
    const known = isTokenLike(given) ? state.deps.tokens.peek(given) : state.deps.apiKeys.peek(given, digest)
    const principal = known === undefined || known === 'wrong' ? verified(state, given) : known
    const forwarded = headers.get('x-forwarded-authorization')
    return forwarded === null ? principal : restricted(state, principal, bearer(forwarded) ?? forwarded)
  }
}

const maxProven = 16

function serviceOrUser(state: RequestState): Principal | Promise<Principal> {
  const forwarded = state.request.headers.get('x-forwarded-authorization')
  return forwarded === null ? serviceKey : actingFor(state, bearer(forwarded) ?? forwarded)
}

const missing = 'Send a key or token as Authorization: Bearer, or a key as apikey or x-api-key.'
const wrong = 'The key is not valid.'

async function actingFor({ deps, request }: RequestState, token: string): Promise<Principal> {
  const known = deps.tokens.peek(token)
  if (known !== undefined) return known
  return openPaths.has(getPath(request)) ? anonymous : deps.tokens.verify(token)
}

/** A scoped key acts for a user too; beside a user's own token another says nothing. */
async function restricted(state: RequestState, principal: Principal | Promise<Principal>, token: string) {
  const key = await principal
  if (key.kind !== 'key') return key
  const user = await actingFor(state, token)
  return user.kind === 'user' ? { ...key, user } : anonymous
}

async function verified(state: RequestState, given: string): Promise<Principal> {
  const { deps, request, server } = state
  if (uncountedPaths.has(getPath(request))) return anonymous
  const address = clientAddress(request, server, deps.config.TRUST_PROXY)
  // By the credential's own name, so that many wrong ones do not lock the others at that address out.
  const prefix = prefixOf(given) ?? Bun.hash(given).toString(36)
  await deps.limits.admit(address, prefix)
  try {
    const principal = isTokenLike(given) ? await deps.tokens.verify(given) : await deps.apiKeys.find(given, state)
    if (principal) return principal
    throw unauthenticated(wrong)
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'UNAUTHENTICATED') throw error
    if (openPaths.has(getPath(request))) return stranger(state, wrong)
    await deps.limits.failed(address, prefix)
    throw error
  }
}

/** Nobody we know may read what is open, and is counted by address. */
function stranger(state: RequestState, reason: string): Principal | Promise<Principal> {
  const path = getPath(state.request)
  return uncountedPaths.has(path) ? anonymous : counted(state, openPaths.has(path) ? undefined : reason)
}

async function counted(state: RequestState, refusal: string | undefined): Promise<Principal> {
  const { deps, request, server } = state
  state.rateHeaders = await deps.limits.anonymous(clientAddress(request, server, deps.config.TRUST_PROXY))
  if (refusal !== undefined) throw unauthenticated(refusal)
  return anonymous
}

// Digests have one length and are compared whole, all of them: time tells neither the length nor the key that nearly matched.
function matches(digests: readonly Uint8Array[], given: Uint8Array): boolean {
  let found = false
  for (const known of digests) found = timingSafeEqual(known, given) || found
  return found
}

function bearer(authorization: string): string | null {
  // What nearly every caller writes needs no pattern.
  if (authorization.startsWith('Bearer ') && !authorization.includes(' ', 7)) return authorization.slice(7)
  return /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? null
}

function digestOf(text: string): Uint8Array {
  return Bun.SHA256.hash(text) as Uint8Array
}

function unauthenticated(message: string): ApiError {
  return new ApiError('UNAUTHENTICATED', message, { headers: { 'www-authenticate': 'Bearer realm="bun-api"' } })
}
