import { type JWTPayload, jwtVerify, type JWTVerifyGetKey } from 'jose'
import { LRUCache } from 'lru-cache'
import { type Config, issuerOf } from '../config.ts'
import { ApiError } from '../errors.ts'
import { createKeySet, type KeySetOptions } from './key-set.ts'
import type { User } from './principal.ts'
import { maxUserIdLength, userIdOf } from './user-id.ts'

/** Tells the tokens of users from other text. */
export interface Tokens {
  /** The user of a token that was verified within the last minute and has not expired; `now` in milliseconds since 1970. */
  peek(token: string, now?: number): User | undefined
  /** The user of a token. Throws `UNAUTHENTICATED` for any that is not valid, `REGISTRY_UNAVAILABLE` when its keys can not be fetched. */
  verify(token: string, now?: number): Promise<User>
}

type TokensConfig = Pick<Config, 'SUPABASE_JWT_SECRET' | 'JWKS_URL' | 'SUPABASE_URL' | 'JWT_ISSUER' | 'JWT_AUDIENCE'>

interface Verifier {
  readonly algorithms: string[]
  readonly keyOf: JWTVerifyGetKey
}

const maxTokenLength = 8_192
const maxKept = 10_000
const keptMs = 60_000
const leewaySeconds = 30
/** Supabase's own keys are JWTs of the same issuer: they stand for a program, and one of them for any. */
const programs: ReadonlySet<unknown> = new Set(['anon', 'service_role'])

/** Whether text has a JWT's three parts; no key of this server has. */
export function isTokenLike(text: string): boolean {
  const first = text.indexOf('.')
  const second = text.indexOf('.', first + 1)
  return first > 0 && second > first + 1 && !text.includes('.', second + 1)
}

/** Verifies by `SUPABASE_JWT_SECRET` and `JWKS_URL`; with neither there are no users and every token is refused. */
export function createTokens(config: TokensConfig, keySet: KeySetOptions = {}): Tokens {
  const verifiers = verifiersOf(config, keySet)
  const issuer = issuerOf(config)
  // By digest: no token is kept, and a lookup's time tells nothing about one.
  const kept = new LRUCache<string, User>({ max: maxKept, ttl: keptMs })

  return {
    peek(token, now = Date.now()) {
      if (token.length > maxTokenLength) return undefined
      const user = kept.get(digestOf(token))
      return user !== undefined && user.expiresAt > now ? user : undefined
    },
    async verify(token, now = Date.now()) {
      const payload = token.length > maxTokenLength ? undefined : await payloadOf(token, now)
      const user = payload && userOf(payload)
      if (user === undefined) throw notValid()
      kept.set(digestOf(token), user)
      return user
    },
  }

  async function payloadOf(token: string, now: number): Promise<JWTPayload | undefined> {
    if (issuer === undefined) return undefined
    const checks = {
      issuer,
      audience: config.JWT_AUDIENCE,
      requiredClaims: ['exp', 'aud', 'iss', 'sub'],
      clockTolerance: leewaySeconds,
      currentDate: new Date(now),
    }
    for (const { algorithms, keyOf } of verifiers) {
      try {
        return (await jwtVerify(token, keyOf, { ...checks, algorithms })).payload
      } catch (error) {
        if (error instanceof ApiError) throw error
      }
    }
    return undefined
  }
}

// Each key has its own algorithms: a token chooses neither, so the public key of one is never the secret of the other.
function verifiersOf({ SUPABASE_JWT_SECRET, JWKS_URL }: TokensConfig, keySet: KeySetOptions): readonly Verifier[] {
  const verifiers: Verifier[] = []
  if (SUPABASE_JWT_SECRET !== undefined) {
    const secret = hmacKey(SUPABASE_JWT_SECRET)
    verifiers.push({ algorithms: ['HS256'], keyOf: () => secret })
  }
  if (JWKS_URL !== undefined) {
    verifiers.push({ algorithms: ['RS256', 'ES256', 'EdDSA'], keyOf: createKeySet(JWKS_URL, keySet) })
  }
  return verifiers
}

function hmacKey(secret: string): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', Buffer.from(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])
}

function userOf({ sub, exp, ...claims }: JWTPayload): User | undefined {
  if (typeof sub !== 'string' || sub === '' || sub.length > maxUserIdLength) return undefined
  if (sub.includes('\0') || !sub.isWellFormed() || exp === undefined || programs.has(claims['role'])) return undefined
  return { kind: 'user', id: userIdOf(sub), expiresAt: exp * 1000 }
}

function digestOf(token: string): string {
  return Bun.SHA256.hash(token, 'base64')
}

// One answer for every fault of a token.
function notValid(): ApiError {
  return new ApiError('UNAUTHENTICATED', 'The token is not valid.', {
    headers: { 'www-authenticate': 'Bearer realm="bun-api"' },
  })
}
