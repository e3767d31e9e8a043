import { randomBytes } from 'node:crypto'
import { SignJWT } from 'jose'
import { type OwnRedis, startOwnRedis } from '#test/faults/own-redis.ts'
import { type Answer, createScratchDatabase, createTestApp, type TestApp, testKeys } from '#test/support/app.ts'
import { canary, stores } from '#test/support/stores.ts'

/** Two instances over one registry and one Redis of their own; `start` makes another. */
export interface Instances extends AsyncDisposable {
  readonly redis: OwnRedis
  readonly env: ReturnType<typeof testKeys> & Readonly<Record<string, string>>
  readonly apps: readonly [TestApp, TestApp]
  start(): Promise<TestApp>
  /** A token of that user. */
  signIn(sub: string): Promise<string>
}

const issuer = 'https://project.supabase.test/auth/v1'

export async function startInstances(): Promise<Instances> {
  await using cleanup = new AsyncDisposableStack()
  const database = cleanup.use(await createScratchDatabase(stores().postgres18))
  const redis = cleanup.use(await startOwnRedis())
  const secret = `${canary}-${randomBytes(32).toString('hex')}`
  const env = {
    ...testKeys(),
    DATABASE_URL: database.url,
    CACHE_REDIS_URL: redis.url,
    SUPABASE_JWT_SECRET: secret,
    JWT_ISSUER: issuer,
  }
  const start = async () => cleanup.use(await createTestApp({ registry: 'postgres18', env }))
  const apps = [await start(), await start()] as const
  const owned = cleanup.move()
  return {
    redis,
    env,
    apps,
    // The latest is ended first.
    start: async () => owned.use(await createTestApp({ registry: 'postgres18', env })),
    signIn: (sub) =>
      new SignJWT({ sub, iss: issuer, aud: 'authenticated', exp: Math.floor(Date.now() / 1000) + 600 })
        .setProtectedHeader({ alg: 'HS256' })
        .sign(Buffer.from(secret)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** What is in a Redis but the counters of limits. */
export async function keptIn(redis: OwnRedis): Promise<readonly string[]> {
  const names = await redis.use((client) => client.keys('*'))
  return names.filter((name) => !name.startsWith('bun-api:rate:'))
}

/** All of it: names, and values as Latin-1 text. */
export function contentOf(redis: OwnRedis): Promise<string> {
  return redis.use(async (client) => {
    const found: string[] = []
    for (const name of await keptIn(redis)) {
      const isHash = (await client.type(name)) === 'hash'
      const value = isHash
        ? JSON.stringify(await client.hgetall(name))
        : (await client.getBuffer(name))?.toString('latin1')
      found.push(name, value ?? '')
    }
    return found.join('\n')
  })
}

/** As status and code. */
export const outcomeOf = ({ status, body }: Answer): string => [status, body?.error?.code].filter(Boolean).join(' ')
