import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createApp } from '#src/app.ts'
import { openApiDocument } from '#routes/index.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'

const root = join(import.meta.dir, '..', '..')
// Inside the repository, where the packages are.
const cache = join(root, '.cache')
const flags = ['--redocly', './redocly.yaml', '--alphabetize', '--default-non-nullable=false']

/** Studio's compiler settings, and the stricter ones of this repository. */
const compilerOptions = {
  target: 'ESNext',
  module: 'ESNext',
  moduleResolution: 'bundler',
  lib: ['ESNext', 'DOM', 'DOM.Iterable'],
  types: ['bun-types'],
  strict: true,
  noUncheckedIndexedAccess: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  isolatedModules: true,
  skipLibCheck: true,
  noEmit: true,
  paths: { 'api-types': ['./api-types/index.ts'] },
}

describe("the types that Studio's generator makes of openapi.json", () => {
  let folder: string
  beforeAll(async () => {
    await mkdir(cache, { recursive: true })
    folder = await mkdtemp(join(cache, 'studio-'))
    await cp(join(import.meta.dir, 'studio'), folder, { recursive: true })
    for (const path of new Bun.Glob('**/*.ts').scanSync(folder)) {
      const text = await readFile(join(folder, path), 'utf8')
      await writeFile(join(folder, path), text.replace(/^\/\/ @ts-nocheck.*\n/, ''))
    }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['**/*.ts'] }))
    await writeFile(join(folder, 'api-types', 'openapi.json'), JSON.stringify(openApiDocument()))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  const run = async (cwd: string, ...args: readonly string[]) => {
    const child = Bun.spawn([process.execPath, ...args], { cwd, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
    const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()])
    const exitCode = await child.exited
    return { exitCode, printed: exitCode === 0 ? '' : output + errors }
  }
  const check = () => run(folder, 'check', '-p', join(folder, 'tsconfig.json'))

  test("are made beside the platform's, and Studio's data folder compiles with both", async () => {
    const generator = join(root, 'node_modules', 'openapi-typescript', 'bin', 'cli.js')
    expect(await run(join(folder, 'api-types'), generator, ...flags)).toEqual({ exitCode: 0, printed: '' })
    expect(await check()).toEqual({ exitCode: 0, printed: '' })
  }, 60_000)

  test('do not let a wrong path, parameter or field pass', async () => {
    const path = join(folder, 'mistakes.ts')
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.replaceAll(/^ *\/\/ @ts-expect-error.*\n/gm, ''))
    const { exitCode, printed } = await check()
    await writeFile(path, text)
    const wrong = [...printed.matchAll(/mistakes\.ts\S* *-? *error TS\d+/g)]
    expect({ exitCode, errors: wrong.length }).toEqual({
      exitCode: 1,
      errors: [...text.matchAll(/@ts-expect-error/g)].length,
    })
  }, 60_000)
})

describeWith('redis', "Studio's data folder, through a handler that adds the key as Studio's does", (redis) => {
  let app: TestApp
  let proxy: ReturnType<typeof Bun.serve>
  beforeAll(async () => {
    app = await createTestApp()
    const { fetch } = createApp(app.deps)
    proxy = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: (request) => {
        const headers = new Headers(request.headers)
        headers.set('authorization', `Bearer ${app.key}`)
        return fetch(new Request(request, { headers }))
      },
    })
    process.env['API_URL'] = `${proxy.url.origin}/api/platform`
  })
  afterAll(async () => {
    delete process.env['API_URL']
    await proxy?.stop(true)
    await app?.[Symbol.asyncDispose]()
  })

  test('registers a database, lists it and pages through its keys', async () => {
    const { createDatabase } = await import('./studio/data/databases/database-create-mutation.ts')
    const { getDatabases } = await import('./studio/data/databases/databases-query.ts')
    const { redisKeysQueryOptions } = await import('./studio/data/redis-keys/redis-keys-query.ts')
    const { QueryClient } = await import('@tanstack/react-query')
    const input = { projectRef: 'default', name: 'cache', type: 'redis', connectionString: redis.url } as const
    const { warnings, ...created } = await createDatabase(input)
    expect(warnings).toEqual([])
    expect(await getDatabases({ projectRef: 'default', types: ['redis', 'mongodb'] })).toEqual([created])
    expect(await getDatabases({ projectRef: 'default', types: ['postgres'] })).toEqual([])

    const names = Array.from({ length: 50 }, (_, index) => `studio-${process.pid}:${index}`)
    await using cleanup = new AsyncDisposableStack()
    const client = new Bun.RedisClient(redis.url)
    cleanup.defer(() => client.close())
    cleanup.defer(async () => void (await client.del(...names)))
    await Promise.all(names.map((name) => client.set(name, 'x')))
    const options = redisKeysQueryOptions({ databaseId: created.id, pattern: `studio-${process.pid}:*`, count: 10 })
    const { pages } = await new QueryClient().fetchInfiniteQuery({ ...options, pages: 10_000 })
    const keys = pages.flatMap((page: { data: readonly { key: string }[] }) => page.data.map(({ key }) => key))
    expect(pages.length).toBeGreaterThan(1)
    expect([...new Set(keys)].sort()).toEqual(names.sort())
  })

  test('is told what is wrong in words, with the status and the id of its request', async () => {
    const { getRedisKeys } = await import('./studio/data/redis-keys/redis-keys-query.ts')
    const error = await getRedisKeys({ databaseId: crypto.randomUUID() }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ message: expect.stringContaining('database'), code: 404 })
    const { requestId } = error as { readonly requestId: string }
    expect(app.logLines.filter((line) => line.includes(requestId))).not.toEqual([])
  })
})
