import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { openApiDocument } from '#routes/index.ts'
import { loadConfig } from '#src/config.ts'
import { createScratchDatabase, testKeys } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { freePorts } from '#test/support/ports.ts'
import { stores } from '#test/support/stores.ts'
import { buildImage, bunUser, type Image } from './image/build.ts'
import { contextFilter, parseDockerfile } from './image/dockerfile.ts'
import { runInImage, startContainer } from './image/run.ts'
import { clientOf } from './server.ts'

setDefaultTimeout(180_000)

const root = join(import.meta.dir, '../..')
// Of https://railway.com/railway.schema.json: what it parses strictly. Seconds as text fail a deployment.
const seconds = z.int().positive()
const railway = z.strictObject({
  $schema: z.literal('https://railway.com/railway.schema.json'),
  build: z.strictObject({
    builder: z.literal('DOCKERFILE'),
    dockerfilePath: z.string(),
    watchPatterns: z.array(z.string().startsWith('/')),
  }),
  deploy: z.strictObject({
    preDeployCommand: z.tuple([z.string()]),
    healthcheckPath: z.string().startsWith('/'),
    healthcheckTimeout: seconds,
    restartPolicyType: z.enum(['ON_FAILURE', 'ALWAYS', 'NEVER']),
    restartPolicyMaxRetries: seconds,
    overlapSeconds: seconds,
    drainingSeconds: seconds,
  }),
})
const dockerfile = parseDockerfile(await Bun.file(join(root, 'Dockerfile')).text())

test('every stage is of the Bun that these tests run on', () => {
  expect(dockerfile.map(({ base }) => base)).toEqual([`oven/bun:${Bun.version}-slim`, `oven/bun:${Bun.version}-slim`])
})

test('the context has what the build reads, and no secret, data or test', async () => {
  const isSent = contextFilter(await Bun.file(join(root, '.dockerignore')).text())
  const sent = ['package.json', 'bun.lock', 'src/main.ts', 'routes/redis/keys.ts', 'migrations/001_platform.sql']
  const kept = ['.env', '.env.local', '.git/config', '.data/keys.json', 'node_modules/zod/index.js', 'test/x.test.ts']
  expect([...sent, ...kept].filter(isSent)).toEqual(sent)
})

test('railway.json has the fields of Railway, and time enough to drain', async () => {
  const { build, deploy } = railway.parse(await Bun.file(join(root, 'railway.json')).json())
  expect(await Bun.file(join(root, build.dockerfilePath)).exists()).toBe(true)
  expect(openApiDocument().paths?.[deploy.healthcheckPath]?.get).toBeDefined()
  const closingMs = 2_000
  expect(deploy.drainingSeconds * 1_000).toBeGreaterThan(loadConfig({}).SHUTDOWN_DRAIN_MS + closingMs)
})

test('a change of any file that is built deploys, and one of tests or documents does not', async () => {
  const { build } = railway.parse(await Bun.file(join(root, 'railway.json')).json())
  const globs = build.watchPatterns.map((pattern) => new Bun.Glob(pattern.slice(1)))
  const isWatched = (path: string) => globs.some((glob) => glob.match(path))
  const isSent = contextFilter(await Bun.file(join(root, '.dockerignore')).text())
  const names = await readdir(root, { withFileTypes: true })
  const files = names.map((entry) => (entry.isDirectory() ? `${entry.name}/x.ts` : entry.name))
  const built = [...files.filter(isSent), '.dockerignore', 'Dockerfile', 'railway.json']
  expect(files.filter(isWatched).toSorted()).toEqual(built.toSorted())
})

describe('the image', () => {
  let image: Image
  beforeAll(async () => {
    image = await buildImage(root)
  }, 120_000)
  afterAll(() => image?.[Symbol.asyncDispose]())

  const environment = async (more: Readonly<Record<string, string>>) => {
    const [port] = await freePorts()
    return { ...testKeys(), EGRESS_ALLOW: '*', PORT: String(port), ...more }
  }

  test('holds the bundle and the data folder, and runs it without a shell as a user without rights', async () => {
    const { user, entrypoint, command, workdir } = image
    const data = await stat(join(workdir, 'data'))
    const owner = process.getuid?.() === 0 ? bunUser.uid : data.uid
    expect({ user, command: [...entrypoint, ...command], data: { uid: data.uid, mode: data.mode & 0o777 } }).toEqual({
      user: 'bun',
      command: ['bun', 'dist/main.js'],
      data: { uid: owner, mode: 0o700 },
    })
    expect((await readdir(workdir)).sort()).toEqual(['data', 'dist'])
    const files = await readdir(join(workdir, 'dist'), { recursive: true })
    const entries = ['main.js', 'migrate.js', 'rewrap.js', 'smoke.js', 'pglite.wasm', 'migrations/001_platform.sql']
    expect(files).toEqual(expect.arrayContaining(entries))
    expect(files.filter((file) => /\.env|\.git|node_modules|test|\.ts$/.test(file))).toEqual([])
    const sizes = await Promise.all(files.map(async (file) => (await stat(join(workdir, 'dist', file))).size))
    const megabytes = sizes.reduce((sum, size) => sum + size, 0) / 1e6
    console.log(`dist of the image: ${megabytes.toFixed(1)} MB in ${files.length} files`)
  })

  describeWith('redis', 'with an external registry', (redis) => {
    test('migrates before the deploy, serves, and ends with 0 on SIGTERM', async () => {
      await using registry = await createScratchDatabase(stores().postgres18)
      const env = await environment({ DATABASE_URL: registry.url })
      const { deploy } = railway.parse(await Bun.file(join(root, 'railway.json')).json())
      const [migrate] = deploy.preDeployCommand
      const migrated = await runInImage(image, migrate.split(' '), env)
      expect({ code: migrated.code, errors: migrated.errors }).toEqual({ code: 0, errors: '' })
      expect(migrated.output).toContain('"event":"migrated"')

      const began = performance.now()
      await using container = startContainer(image, env)
      const url = await container.url
      const { request } = clientOf(url, env.BUN_API_KEY)
      expect((await request('GET', deploy.healthcheckPath)).status).toBe(200)
      console.log(`the image answers after ${Math.round(performance.now() - began)} ms`)
      expect(container.output()).not.toContain('"event":"migrated"')
      if (process.platform === 'linux') {
        const { uid } = await stat(`/proc/${container.pid}`)
        expect(uid).toBe(process.getuid?.() === 0 ? bunUser.uid : Number(process.getuid?.()))
      }

      const page = await (await fetch(`${url}/docs`)).text()
      const linked = [...page.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path]) => path)
      expect(linked.length).toBeGreaterThan(0)
      const statuses = linked.map(async (path) => [path, (await fetch(`${url}${path}`)).status])
      expect(await Promise.all(statuses)).toEqual(linked.map((path) => [path, 200]))
      expect(await (await fetch(`${url}/openapi.json`)).json()).toMatchObject({ openapi: '3.1.0' })

      const targets = ['--redis', redis.url, '--postgres', stores().postgres18.url]
      const smoke = await runInImage(image, ['bun', 'dist/smoke.js', '--url', url, ...targets], env)
      expect({ code: smoke.code, errors: smoke.errors, last: smoke.output.trimEnd().split('\n').at(-1) }).toEqual({
        code: 0,
        errors: '',
        last: '22 requests ok, skipped: mongodb, bun_api',
      })

      const check = () => runInImage(image, image.healthcheck, { PORT: env.PORT, HTTP_PROXY: 'http://127.0.0.1:9' })
      expect((await check()).code).toBe(0)
      process.kill(container.pid, 'SIGTERM')
      expect({ code: await container.exited, stopped: /.*"event":"stopped".*/.exec(container.output())?.[0] }).toEqual({
        code: 0,
        stopped: expect.stringContaining('"drained":true,"closed":true'),
      })
      expect((await check()).code).toBe(1)
      expect(container.output()).not.toContain(env.BUN_API_KEY)
    })
  })

  test('keeps an embedded registry in its data folder, also after it was killed', async () => {
    const env = await environment({})
    const names = ['first', 'second']
    for (const [index, name] of names.entries()) {
      await using container = startContainer(image, env)
      const { request } = clientOf(await container.url, env.BUN_API_KEY)
      const created = await request('POST', '/api/platform/databases', {
        projectRef: 'default',
        name,
        type: 'postgres',
        connectionString: stores().postgres18.url,
      })
      expect(created.status).toBe(201)
      const listed = (await (await request('GET', '/api/platform/databases')).json()) as { name: string }[]
      expect(listed.map((database) => database.name).toSorted()).toEqual(names.slice(0, index + 1))
      const isLast = index === names.length - 1
      process.kill(container.pid, isLast ? 'SIGTERM' : 'SIGKILL')
      expect((await container.exited) === 0).toBe(isLast)
    }
  })

  test('says that smoke needs a server, where there is no repository', async () => {
    const { code, output } = await runInImage(image, ['bun', 'dist/smoke.js'], {})
    expect({ code, output }).toEqual({
      code: 1,
      output: '\nStores can only be started in the repository: give --url, and --key or BUN_API_KEY.\n',
    })
  })
})
