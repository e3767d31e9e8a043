import { afterAll, afterEach, beforeAll, describe, expect, setSystemTime, test } from 'bun:test'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { Role } from '#src/access/principal.ts'
import { eventually, inRegistry, newName, path } from '#test/registry/registries.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { canary } from '#test/support/stores.ts'

// The canary: no answer and no log line may hold the secret.
const secret = `${canary}-${crypto.randomUUID()}`
const issuer = 'https://project.supabase.test/auth/v1'
const hour = 3_600_000

let app: TestApp
beforeAll(async () => {
  app = await createTestApp({ env: { SUPABASE_JWT_SECRET: secret, JWT_ISSUER: issuer } })
})
afterAll(() => app?.[Symbol.asyncDispose]())
afterEach(() => void setSystemTime())

function signIn(sub: string, more: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const exp = Math.floor(Date.now() / 1000) + 600
  return new SignJWT({ sub, iss: issuer, aud: 'authenticated', exp, ...more })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(Buffer.from(secret))
}

async function addDatabase(): Promise<string> {
  const connectionString = `redis://:${canary}@store.test`
  const body = { projectRef: 'default', name: newName(), type: 'redis', connectionString }
  return (await app.request('POST', `${path}?skipTest=true`, { body })).body.id
}

/** Somebody signed in, and what they were granted on a database of their own. */
async function somebody(role?: Role) {
  const [user, id] = [crypto.randomUUID(), await addDatabase()]
  const url = `${path}/${id}`
  if (role) await app.request('PUT', `${url}/permissions/${user}`, { body: { role } })
  return { user, id, url, token: await signIn(user) }
}

/** As status and code, with the given headers and no key. */
async function ask(method: string, url: string, headers: Readonly<Record<string, string>>, body?: unknown) {
  const answer = await app.request(method, url, { key: null, headers, body })
  return [answer.status, answer.body?.error?.code].filter(Boolean).join(' ')
}
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

describe('a token over HTTP', () => {
  test('opens what its user was granted, as Authorization: Bearer, apikey and x-api-key', async () => {
    const { token, url } = await somebody('read')
    const headers = [bearer(token), { authorization: `bearer  ${token}` }, { apikey: token }, { 'x-api-key': token }]
    expect(await Promise.all(headers.map((sent) => ask('GET', url, sent)))).toEqual(headers.map(() => '200'))
  })

  test('401 in any other scheme, even beside the service key', async () => {
    const { token, url } = await somebody('admin')
    const basic = Buffer.from(`user:${token}`).toString('base64')
    const headers = [
      { authorization: `Basic ${token}` },
      { authorization: `Basic ${basic}` },
      { authorization: token },
      { authorization: `Bearer ${token} ${token}` },
      { authorization: `Basic ${token}`, apikey: app.key },
    ]
    expect(await Promise.all(headers.map((sent) => ask('GET', url, sent)))).toEqual(
      headers.map(() => '401 UNAUTHENTICATED'),
    )
  })

  test('401 with one sentence, whatever is wrong with it', async () => {
    const { user, token, url } = await somebody('admin')
    const wrong = [
      await signIn(user, { exp: Math.floor(Date.now() / 1000) - 3600 }),
      await signIn(user, { aud: 'other' }),
      await signIn(user, { iss: 'other' }),
      await signIn(user, { role: 'service_role' }),
      `${token.slice(0, -3)}AAA`,
      token.replace(/\.[^.]+$/, '.'),
    ]
    const bodies = await Promise.all(
      wrong.map(async (sent) => (await app.request('GET', url, { key: null, headers: bearer(sent) })).body.message),
    )
    expect(bodies).toEqual(wrong.map(() => 'The token is not valid.'))
  })

  test('an expired one is refused also where it was just taken, and a clock set back lets none in early', async () => {
    const { token, url } = await somebody('read')
    const now = await ask('GET', url, bearer(token))
    setSystemTime(new Date(Date.now() + 2 * hour))
    const ahead = await ask('GET', url, bearer(token))
    setSystemTime()
    const fresh = await somebody('read')
    const later = await signIn(fresh.user, { nbf: Math.floor(Date.now() / 1000) })
    setSystemTime(new Date(Date.now() - 2 * hour))
    const behind = await ask('GET', fresh.url, bearer(later))
    expect([now, ahead, behind]).toEqual(['200', '401 UNAUTHENTICATED', '401 UNAUTHENTICATED'])
  })

  test('without a grant a database is as one that is not there', async () => {
    const { token, url } = await somebody()
    const granted = await somebody('admin')
    const answerTo = async (target: string) => {
      const { status, body } = await app.request('GET', target, { key: null, headers: bearer(token) })
      return [status, body.error.code, body.message]
    }
    const [foreign, other, unknown] = [
      await answerTo(url),
      await answerTo(granted.url),
      await answerTo(`${path}/${crypto.randomUUID()}`),
    ]
    expect([foreign, other, unknown?.slice(0, 2)]).toEqual([unknown, unknown, [404, 'DB_NOT_FOUND']])
  })

  test('nor does time tell it', async () => {
    const { token, url } = await somebody()
    const timeOf = async (target: string) => {
      const began = performance.now()
      await ask('GET', target, bearer(token))
      return performance.now() - began
    }
    const times: { foreign: number; unknown: number }[] = []
    // In turns, so that what else the machine does slows both; fewer than the burst a user is allowed.
    for (let round = 0; round < 60; round++) {
      times.push({ foreign: await timeOf(url), unknown: await timeOf(`${path}/${crypto.randomUUID()}`) })
    }
    const median = (values: number[]) => values.toSorted((one, other) => one - other)[values.length >> 1] ?? 0
    const ratio = median(times.map(({ unknown }) => unknown)) / median(times.map(({ foreign }) => foreign))
    expect({ ratio, fine: ratio > 1 / 3 && ratio < 3 }).toEqual({ ratio, fine: true })
  })

  test('403 what the role does not reach; an admin may grant, and the grant says who gave it', async () => {
    const [reader, writer, admin] = [await somebody('read'), await somebody('write'), await somebody('admin')]
    const guest = crypto.randomUUID()
    const grant = ({ url, token }: typeof reader) =>
      ask('PUT', `${url}/permissions/${guest}`, bearer(token), { role: 'read' })
    const list = ({ url, token }: typeof reader) => ask('GET', `${url}/permissions`, bearer(token))
    expect([await grant(reader), await grant(writer), await list(writer), await grant(admin)]).toEqual([
      '403 FORBIDDEN',
      '403 FORBIDDEN',
      '403 FORBIDDEN',
      '200',
    ])
    const { body } = await app.request('GET', `${admin.url}/permissions`)
    expect(body.map((row: Record<string, string>) => [row['user_id'], row['granted_by']])).toContainEqual([
      guest,
      `user:${admin.user}`,
    ])
  })

  test('a grant of the project reaches its databases, also those made later', async () => {
    const { user, url, token } = await somebody()
    const before = await ask('GET', url, bearer(token))
    await app.request('PUT', `/api/platform/projects/default/permissions/${user}`, { body: { role: 'read' } })
    const later = `${path}/${await addDatabase()}`
    const during = [await ask('GET', url, bearer(token)), await ask('GET', later, bearer(token))]
    await app.request('DELETE', `/api/platform/projects/default/permissions/${user}`)
    expect([before, ...during, await ask('GET', later, bearer(token))]).toEqual([
      '404 DB_NOT_FOUND',
      '200',
      '200',
      '404 DB_NOT_FOUND',
    ])
  })

  test('a grant taken away by SQL is gone within a second', async () => {
    const { user, url, token } = await somebody('read')
    const before = await ask('GET', url, bearer(token))
    await inRegistry(app, (sql) => sql`delete from platform.database_permissions where user_id = ${user}`)
    await eventually(async () => (await ask('GET', url, bearer(token))) === '404 DB_NOT_FOUND', 1_000)
    expect(before).toBe('200')
  })
})

describe('a token of a published key over HTTP', () => {
  test('503 while the keys can not be fetched, whoever asks; then its user', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256')
    const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }
    let isDown = true
    await using server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: () => (isDown ? new Response('', { status: 500 }) : Response.json({ keys: [jwk] })),
    })
    await using published = await createTestApp({ env: { JWKS_URL: server.url.href, JWT_ISSUER: issuer } })
    const user = crypto.randomUUID()
    const exp = Math.floor(Date.now() / 1000) + 600
    const token = await new SignJWT({ sub: user, iss: issuer, aud: 'authenticated', exp })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .sign(privateKey)
    const get = () => published.request('GET', '/api/platform/projects/default', { key: token })
    const down = await get()
    expect([down.status, down.body.error.code, down.headers.get('retry-after')]).toEqual([
      503,
      'REGISTRY_UNAVAILABLE',
      '2',
    ])
    isDown = false
    await published.request('PUT', `/api/platform/projects/default/permissions/${user}`, { body: { role: 'read' } })
    await eventually(async () => (await get()).status === 200)
  })
})

describe('x-forwarded-authorization', () => {
  const forwarded = (token: string, key: string = app.key) => ({
    authorization: `Bearer ${key}`,
    'x-forwarded-authorization': `Bearer ${token}`,
  })

  test('beside the service key, that user asks and not the operator', async () => {
    const [reader, stranger] = [await somebody('read'), await somebody()]
    const guest = `${reader.url}/permissions/${crypto.randomUUID()}`
    expect([
      await ask('GET', reader.url, forwarded(reader.token)),
      await ask('PUT', guest, forwarded(reader.token), { role: 'read' }),
      await ask('GET', stranger.url, forwarded(stranger.token)),
      await ask('PUT', guest, bearer(app.key), { role: 'read' }),
    ]).toEqual(['200', '403 FORBIDDEN', '404 DB_NOT_FOUND', '200'])
  })

  test('401 a wrong one, however good the key is', async () => {
    const { user, url } = await somebody('read')
    const expired = await signIn(user, { exp: 1 })
    const headers = [
      forwarded(expired),
      forwarded(app.key),
      forwarded(''),
      { ...bearer(app.key), 'x-forwarded-authorization': `Basic ${await signIn(user)}` },
    ]
    expect(await Promise.all(headers.map((sent) => ask('GET', url, sent)))).toEqual(
      headers.map(() => '401 UNAUTHENTICATED'),
    )
  })

  test('without the service key it opens nothing', async () => {
    const { token, url } = await somebody('admin')
    expect([
      await ask('GET', url, { 'x-forwarded-authorization': `Bearer ${token}` }),
      await ask('GET', url, forwarded(token, 'x'.repeat(43))),
    ]).toEqual(['401 UNAUTHENTICATED', '401 UNAUTHENTICATED'])
  })
})
