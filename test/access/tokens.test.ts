import { afterAll, afterEach, beforeAll, describe, expect, setSystemTime, test } from 'bun:test'
import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import { createTokens, isTokenLike, type Tokens } from '#src/access/tokens.ts'
import { issuerOf, loadConfig } from '#src/config.ts'
import { ApiError } from '#src/errors.ts'
import { eventually } from '#test/registry/registries.ts'

const sub = '0b9f6c1e-6d0a-4a57-9b0e-0d6f0c9a7c11'
const issuer = 'https://project.supabase.test/auth/v1'
const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')
const env = { SUPABASE_JWT_SECRET: secret, JWT_ISSUER: issuer }
const seconds = () => Math.floor(Date.now() / 1000)
const claims = () => ({ sub, iss: issuer, aud: 'authenticated', role: 'authenticated', exp: seconds() + 3600 })
type Claims = Readonly<Record<string, unknown>>

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signed by hand: a library would not make most of these. */
function hmac(hash: 'sha256' | 'sha512', payload: Claims, key: string | Uint8Array, header: Claims) {
  const signed = `${encode(header)}.${encode(payload)}`
  return `${signed}.${new Bun.CryptoHasher(hash, key).update(signed).digest('base64url')}`
}
const hs256 = (payload: Claims, key: string | Uint8Array = secret, header: Claims = { alg: 'HS256', typ: 'JWT' }) =>
  hmac('sha256', payload, key, header)

const without = (claim: string) => Object.fromEntries(Object.entries(claims()).filter(([name]) => name !== claim))

/** The user's id, or the error's code and message. */
async function verdict(tokens: Tokens, token: string, now?: number): Promise<unknown> {
  try {
    return (await tokens.verify(token, now)).id
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    return [error.status, error.code, error.message]
  }
}
const refused = [401, 'UNAUTHENTICATED', 'The token is not valid.']

describe('tokens signed with SUPABASE_JWT_SECRET', () => {
  const tokens = createTokens(loadConfig(env))

  test('a valid one is its user, until it expires', async () => {
    const { exp } = claims()
    const user = await tokens.verify(hs256({ ...claims(), exp }))
    expect(user).toEqual({ kind: 'user', id: sub, expiresAt: exp * 1000 })
  })

  test('a UUID is written in lower case, other text stays as it is', async () => {
    const ids = [sub.toUpperCase(), 'auth0|Ada', 'ü'.repeat(255)]
    const verdicts = await Promise.all(ids.map((id) => verdict(tokens, hs256({ ...claims(), sub: id }))))
    expect(verdicts).toEqual([sub, 'auth0|Ada', 'ü'.repeat(255)])
  })

  test('one of several audiences is enough', async () => {
    expect(await verdict(tokens, hs256({ ...claims(), aud: ['other', 'authenticated'] }))).toBe(sub)
  })

  const valid = hs256(claims())
  const [header = '', payload = '', signature = ''] = valid.split('.')
  const wrong: readonly (readonly [string, string])[] = [
    ['unsigned, alg none', `${encode({ alg: 'none' })}.${payload}.`],
    ['alg none with a signature', `${encode({ alg: 'none' })}.${payload}.${signature}`],
    ['alg NONE in capitals', `${encode({ alg: 'NONE' })}.${payload}.`],
    ['without an algorithm', hs256(claims(), secret, { typ: 'JWT' })],
    ['another HMAC by its header', hmac('sha512', claims(), secret, { alg: 'HS512' })],
    ['another secret', hs256(claims(), `${secret}x`)],
    ['an empty secret', hs256(claims(), '')],
    ['the signature of another token', `${header}.${payload}.${hs256({ ...claims(), sub: 'other' }).split('.')[2]}`],
    ['the payload of another token', `${header}.${encode({ ...claims(), sub: 'other' })}.${signature}`],
    ['no signature', `${header}.${payload}.`],
    ['a key of its own in the header', hs256(claims(), 'mine', { alg: 'HS256', jwk: { kty: 'oct', k: 'bWluZQ' } })],
    ['an extension nobody knows', hs256(claims(), secret, { alg: 'HS256', crit: ['exp2'], exp2: 1 })],
    ['another audience', hs256({ ...claims(), aud: 'anon' })],
    ['an audience that begins alike', hs256({ ...claims(), aud: 'authenticated2' })],
    ['another issuer', hs256({ ...claims(), iss: 'https://other.supabase.test/auth/v1' })],
    ['issuers as a list', hs256({ ...claims(), iss: [issuer] })],
    ...['exp', 'aud', 'iss', 'sub'].map((claim) => [`without ${claim}`, hs256(without(claim))] as const),
    ['expired', hs256({ ...claims(), exp: seconds() - 61 })],
    ['an expiry that is text', hs256({ ...claims(), exp: String(seconds() + 3600) })],
    ['not valid yet', hs256({ ...claims(), nbf: seconds() + 90 })],
    ['an empty sub', hs256({ ...claims(), sub: '' })],
    ['a sub of 256 characters', hs256({ ...claims(), sub: 'x'.repeat(256) })],
    ['a sub with NUL', hs256({ ...claims(), sub: 'a\0b' })],
    ['a sub with half a character', hs256({ ...claims(), sub: '\ud800' })],
    ['a sub that is no text', hs256({ ...claims(), sub: 7 })],
    ['the anon key', hs256({ ...claims(), role: 'anon' })],
    ['the service_role key', hs256({ ...claims(), role: 'service_role' })],
    ['a payload that is no object', hs256([] as never)],
    ['larger than 8 KiB', hs256({ ...claims(), more: 'x'.repeat(8_192) })],
    ['megabytes', `${header}.${'x'.repeat(4_000_000)}.${signature}`],
    ['no token at all', 'a.b.c'],
    ['empty', ''],
  ]
  for (const [name, token] of wrong) {
    test(`401 ${name}`, async () => {
      expect([await verdict(tokens, token), tokens.peek(token)]).toEqual([refused, undefined])
    })
  }

  test('clocks may differ by seconds, not by hours', async () => {
    const hour = 3_600_000
    const token = hs256({ ...claims(), exp: seconds() + 600, nbf: seconds() - 600 })
    const recent = hs256({ ...claims(), exp: seconds() - 20, nbf: seconds() + 20 })
    const at = (shift: number) => verdict(tokens, token, Date.now() + shift)
    expect(await Promise.all([at(0), at(2 * hour), at(-2 * hour), verdict(tokens, recent)])).toEqual([
      sub,
      refused,
      refused,
      sub,
    ])
  })

  test('without a secret and JWKS_URL there are no users', async () => {
    expect(await verdict(createTokens(loadConfig({ JWT_ISSUER: issuer })), valid)).toEqual(refused)
  })
})

describe('peek', () => {
  test('knows a token once it was verified, and no longer than it lasts', async () => {
    const tokens = createTokens(loadConfig(env))
    const token = hs256({ ...claims(), exp: seconds() + 30 })
    const before = tokens.peek(token)
    const user = await tokens.verify(token)
    const after = [tokens.peek(token), tokens.peek(token, user.expiresAt - 1), tokens.peek(token, user.expiresAt)]
    expect([before, ...after]).toEqual([undefined, user, user, undefined])
  })

  test('knows no token that differs in its signature alone', async () => {
    const tokens = createTokens(loadConfig(env))
    const token = hs256(claims())
    await tokens.verify(token)
    expect([tokens.peek(`${token}A`), tokens.peek(token.slice(0, -1)), tokens.peek(`${token} `)]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })

  test('keeps none that is accepted for the clocks alone', async () => {
    const tokens = createTokens(loadConfig(env))
    const token = hs256({ ...claims(), exp: seconds() - 10 })
    expect([await verdict(tokens, token), tokens.peek(token)]).toEqual([sub, undefined])
  })
})

describe('isTokenLike', () => {
  test('tells three parts from everything else', () => {
    const tokens = [hs256(claims()), 'a.b.c', 'a.b.']
    const others = ['', '.', '..', 'a..c', '.b.c', 'a.b', 'a.b.c.d', 'sbp_0123456789', 'x'.repeat(43)]
    expect([tokens.map(isTokenLike), others.map(isTokenLike)]).toEqual([
      tokens.map(() => true),
      others.map(() => false),
    ])
  })
})

describe('the issuer', () => {
  test('is JWT_ISSUER, or that of SUPABASE_URL with or without its slash', () => {
    const of = (given: Readonly<Record<string, string>>) => issuerOf(loadConfig(given))
    expect([
      of({}),
      of({ SUPABASE_URL: 'https://a.test' }),
      of({ SUPABASE_URL: 'https://a.test/' }),
      of({ SUPABASE_URL: 'https://a.test', JWT_ISSUER: 'b' }),
    ]).toEqual([undefined, 'https://a.test/auth/v1', 'https://a.test/auth/v1', 'b'])
  })

  test('is required where there are users', () => {
    const problem = 'JWT_ISSUER: is required with SUPABASE_JWT_SECRET and JWKS_URL, unless SUPABASE_URL is given'
    for (const given of [{ SUPABASE_JWT_SECRET: secret }, { JWKS_URL: 'https://a.test/jwks.json' }]) {
      expect(() => loadConfig(given)).toThrow(problem)
    }
  })
})

interface Signer {
  readonly kid: string
  readonly alg: string
  readonly key: CryptoKey
  readonly jwk: JWK
}

async function signer(alg: string, kid: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, key: privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

const signedBy = ({ key, kid, alg }: Signer, payload: Claims = claims(), header: Claims = {}) =>
  new SignJWT(payload).setProtectedHeader({ alg, kid, ...header }).sign(key)

/** A server of keys that counts what it is asked; `failing` makes it answer 500. */
function keyServer(...keys: JWK[]) {
  const state = { keys, asked: 0, failing: false }
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch() {
      state.asked++
      return state.failing ? Response.json({ keys: [] }, { status: 500 }) : Response.json({ keys: state.keys })
    },
  })
  return { state, url: `${server.url}jwks.json`, [Symbol.asyncDispose]: () => server.stop(true) }
}

describe('tokens signed with the keys of JWKS_URL', () => {
  afterEach(() => void setSystemTime())
  let rsa: Signer
  let elliptic: Signer
  let edwards: Signer
  beforeAll(async () => {
    ;[rsa, elliptic, edwards] = await Promise.all([
      signer('RS256', 'rsa'),
      signer('ES256', 'elliptic'),
      signer('EdDSA', 'edwards'),
    ])
  })
  const configured = (url: string, more: Readonly<Record<string, string>> = {}) =>
    loadConfig({ JWKS_URL: url, JWT_ISSUER: issuer, ...more })

  test('RS256, ES256 and EdDSA are taken, and the keys are asked for once', async () => {
    await using server = keyServer(rsa.jwk, elliptic.jwk, edwards.jwk)
    const tokens = createTokens(configured(server.url))
    const all = await Promise.all([rsa, elliptic, edwards].map(async (by) => verdict(tokens, await signedBy(by))))
    expect([all, server.state.asked]).toEqual([[sub, sub, sub], 1])
  })

  test('401 HS256 signed with the public key, in any of its spellings', async () => {
    await using server = keyServer(rsa.jwk)
    const tokens = createTokens(configured(server.url, { SUPABASE_JWT_SECRET: secret }))
    const der = new Uint8Array(await crypto.subtle.exportKey('spki', await publicKeyOf(rsa)))
    const body = Buffer.from(der).toString('base64')
    const pem = `-----BEGIN PUBLIC KEY-----\n${body.replaceAll(/(.{64})/g, '$1\n')}\n-----END PUBLIC KEY-----`
    const keys = [der, pem, `${pem}\n`, JSON.stringify(rsa.jwk), rsa.jwk.n ?? '']
    const forged = keys.map((key) => hs256(claims(), key, { alg: 'HS256', kid: 'rsa' }))
    expect(await Promise.all(forged.map((token) => verdict(tokens, token)))).toEqual(keys.map(() => refused))
  })

  test('401 another algorithm of the same key, a missing or foreign kid, keys the token brings along', async () => {
    const { alg: _alg, ...withoutAlgorithm } = rsa.jwk
    await using server = keyServer(withoutAlgorithm)
    const tokens = createTokens(configured(server.url))
    const stranger = await signer('RS256', 'rsa')
    const wide = await importJWK(await exportJWK(rsa.key), 'RS512')
    const forged = [
      await new SignJWT(claims()).setProtectedHeader({ alg: 'RS512', kid: 'rsa' }).sign(wide),
      await signedBy(rsa, claims(), { kid: undefined }),
      await signedBy(stranger),
      await signedBy(stranger, claims(), { jwk: stranger.jwk }),
      await signedBy(stranger, claims(), { jku: `${server.url}?mine` }),
      await signedBy(rsa, claims(), { kid: '../rsa' }),
    ]
    const verdicts: unknown[] = []
    for (const token of forged) verdicts.push(await verdict(tokens, token))
    expect([verdicts, await verdict(tokens, await signedBy(rsa))]).toEqual([forged.map(() => refused), sub])
  })

  test('HS256 stays refused where only keys are configured', async () => {
    await using server = keyServer(rsa.jwk)
    expect(await verdict(createTokens(configured(server.url)), hs256(claims()))).toEqual(refused)
  })

  test('both kinds are taken where both are configured', async () => {
    await using server = keyServer(rsa.jwk)
    const tokens = createTokens(configured(server.url, { SUPABASE_JWT_SECRET: secret }))
    expect([await verdict(tokens, hs256(claims())), await verdict(tokens, await signedBy(rsa))]).toEqual([sub, sub])
  })

  test('a new key is asked for when a token names it, but not more often than the cooldown allows', async () => {
    await using server = keyServer(rsa.jwk)
    const eager = createTokens(configured(server.url), { cooldownMs: 0 })
    const calm = createTokens(configured(server.url), { cooldownMs: 60_000 })
    for (const tokens of [eager, calm]) await tokens.verify(await signedBy(rsa))
    server.state.keys.push(elliptic.jwk)
    server.state.asked = 0
    const token = await signedBy(elliptic)
    const rotated = [await verdict(eager, token), await verdict(calm, token), server.state.asked]
    const unknown = await Promise.all(
      Array.from({ length: 50 }, async (_, n) => verdict(calm, await signedBy(edwards, claims(), { kid: `k${n}` }))),
    )
    expect([...rotated, new Set(unknown.map(String)).size, server.state.asked]).toEqual([sub, refused, 1, 1, 1])
  })

  test('a clock that is set back does not stop the asking', async () => {
    await using server = keyServer(rsa.jwk)
    const tokens = createTokens(configured(server.url), { maxAgeMs: 50, cooldownMs: 0 })
    const before = await verdict(tokens, await signedBy(rsa))
    setSystemTime(new Date(Date.now() - 7_200_000))
    server.state.keys = [elliptic.jwk]
    const rotated = await verdict(tokens, await signedBy(elliptic))
    server.state.keys = [edwards.jwk]
    const token = await signedBy(elliptic)
    await eventually(async () => Bun.deepEquals(await verdict(tokens, token), refused))
    expect([before, rotated]).toEqual([sub, sub])
  })

  test('a key that was taken away is refused once the keys are old', async () => {
    await using server = keyServer(rsa.jwk, elliptic.jwk)
    const tokens = createTokens(configured(server.url), { maxAgeMs: 0, cooldownMs: 0 })
    const token = await signedBy(elliptic)
    const before = await verdict(tokens, token)
    server.state.keys.pop()
    expect([before, await verdict(tokens, token)]).toEqual([sub, refused])
  })

  test('keys that are known go on while their server is down, for a time', async () => {
    await using server = keyServer(rsa.jwk)
    const patient = createTokens(configured(server.url), { maxAgeMs: 0, cooldownMs: 0 })
    const strict = createTokens(configured(server.url), { maxAgeMs: 0, cooldownMs: 0, maxStaleMs: 300 })
    const token = await signedBy(rsa)
    const verified = [await verdict(patient, token), await verdict(strict, token)]
    server.state.failing = true
    const down = [503, 'REGISTRY_UNAVAILABLE', 'The keys that verify tokens can not be fetched. Try again shortly.']
    await eventually(async () => Bun.deepEquals(await verdict(strict, token), down))
    expect([...verified, await verdict(patient, token)]).toEqual([sub, sub, sub])
  })

  test('503 while there are none: a refused connection, an answer that never comes, one that is no key set', async () => {
    const closed = keyServer()
    await closed[Symbol.asyncDispose]()
    await using other = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => Response.json({ keys: 'none' }) })
    await using silent = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: () => new Promise<Response>(() => undefined),
    })
    const token = await signedBy(rsa)
    const began = performance.now()
    const statuses = await Promise.all(
      [closed.url, other.url.href, silent.url.href].map(async (url) =>
        String(await verdict(createTokens(configured(url), { timeoutMs: 200 }), token)).slice(0, 3),
      ),
    )
    expect([statuses, performance.now() - began < 2_000]).toEqual([['503', '503', '503'], true])
  })

  test('a set of 64 KiB is taken; of a longer one, or one without end, no more is read, and it counts as not answered', async () => {
    const maxBytes = 65_536
    let sent = 0
    let left = false
    await using server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch(request) {
        const { pathname } = new URL(request.url)
        const json = JSON.stringify({ keys: [rsa.jwk] })
        if (pathname !== '/endless') return new Response(json.padEnd(maxBytes + (pathname === '/longer' ? 1 : 0)))
        const body = new ReadableStream({
          async pull(controller) {
            controller.enqueue(' '.repeat(16_384))
            sent += 16_384
            await Bun.sleep(1)
          },
          cancel: () => void (left = true),
        })
        return new Response(body as never)
      },
    })
    const token = await signedBy(rsa)
    const began = performance.now()
    const ask = (path: string) => verdict(createTokens(configured(new URL(path, server.url).href)), token)
    const down = [503, 'REGISTRY_UNAVAILABLE', 'The keys that verify tokens can not be fetched. Try again shortly.']
    expect([await ask('/whole'), await ask('/longer'), await ask('/endless')]).toEqual([sub, down, down])
    // The time limit is 5 s.
    expect(performance.now() - began).toBeLessThan(2_500)
    await eventually(() => left)
    expect(sent).toBeLessThan(100 * maxBytes)
  })

  describe('with HTTP_PROXY', () => {
    const before = process.env['HTTP_PROXY']
    afterAll(() => {
      if (before === undefined) delete process.env['HTTP_PROXY']
      else process.env['HTTP_PROXY'] = before
    })

    test('the keys are fetched past the proxy', async () => {
      let asked = 0
      await using proxy = Bun.serve({
        hostname: '127.0.0.1',
        port: 0,
        fetch: () => {
          asked++
          return new Response('', { status: 502 })
        },
      })
      await using server = keyServer(rsa.jwk)
      process.env['HTTP_PROXY'] = proxy.url.href
      expect([await verdict(createTokens(configured(server.url)), await signedBy(rsa)), asked]).toEqual([sub, 0])
    })
  })
})

async function publicKeyOf({ jwk }: Signer): Promise<CryptoKey> {
  return crypto.subtle.importKey('jwk', jwk, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, true, ['verify'])
}
