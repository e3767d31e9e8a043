import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openApiDocument } from '#routes/index.ts'
import { insertRow, newKey, sealedRow } from '#test/registry/stored-rows.ts'
import { withClient } from '#test/registry/scratch.ts'
import { createScratchDatabase } from '#test/support/app.ts'
import { findCommand } from '#test/support/debian.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { reportMissing } from '#test/support/environment.ts'
import { stores } from '#test/support/stores.ts'
import { copyWithMemcached } from '../engines/fifth/copy.ts'
import { startMemcached } from '../engines/fifth/server.ts'
import { claimBlock, claimDocument, documentText, strayBlocks } from './documents/blocks.ts'
import { makeClone } from './documents/clone.ts'
import { tryGuides } from './documents/guides.ts'
import { clientOf, productionEnvironment, startServer } from './server.ts'

setDefaultTimeout(120_000)

const start = claimBlock('README.md', 'npx -y bun@1.4.5 run start')
const contributing = claimBlock('CONTRIBUTING.md', 'npx -y bun@1.4.5 run test')
const serve = claimBlock('docs/operations.md', 'bun src/main.ts')
const random = claimBlock('docs/operations.md', 'openssl rand -hex 32')
const build = claimBlock('docs/operations.md', 'bun run build')
const migrate = claimBlock('docs/operations.md', 'bun run migrate')
const rewrap = claimBlock('docs/operations.md', 'bun run rewrap --dry-run')
const backup = claimBlock(
  'docs/operations.md',
  'pg_dump "$DATABASE_URL" --schema=platform --format=custom --file=registry.dump',
)
const copied = claimBlock('docs/operations.md', 'cp -a .data backup')
const bench = claimBlock('docs/performance.md', 'bun run bench')
const help = claimBlock('docs/railway.md', 'scripts/setup-multi-db-env.sh --help')
const engine = claimBlock('docs/adding-an-engine.md', 'bun check')
const studio = claimBlock(
  'docs/studio.md',
  'openapi-typescript --redocly ./redocly.yaml --alphabetize --default-non-nullable=false',
)

tryGuides(claimDocument)

test('every block of shell commands is run here, or marked as one that needs what no test has', () => {
  expect(strayBlocks()).toEqual([])
})

const clone = await makeClone()
afterAll(() => clone[Symbol.asyncDispose]())
// A user of npx need not have `bun`.
const npmAlone = { PATH: process.env['PATH'] ?? '' }
// The first use of an empty HOME: npx downloads Bun as it does for a new user.
const downloaded = await clone.run('npx -y bun@1.4.5 --version', {
  ...npmAlone,
  npm_config_fetch_retries: '0',
  npm_config_fetch_timeout: '20000',
})
const hasNpm = downloaded.output.trim() === '1.4.5' || reportMissing('a registry of npm', 'npx, and a network') !== null
const wrk = (await findCommand('wrk', 'wrk')) ?? reportMissing('wrk', 'as root on Debian, apt-get install wrk')

/** Runs it and expects it to end well; the answer is what it printed. */
async function succeed(line: string, env: Readonly<Record<string, string>> = {}, cwd = clone.path) {
  const { code, output, errors } = await clone.run(line, env, cwd)
  expect({ line, code, said: code === 0 ? '' : output + errors }).toEqual({ line, code: 0, said: '' })
  return { output, errors, last: output.trimEnd().split('\n').at(-1) ?? '' }
}

const begin = (line: string, env: Readonly<Record<string, string>> = {}) =>
  startServer({ command: ['exec', line], cwd: clone.path, env: { ...clone.env, ...env } })

describe('a fresh clone, with an empty HOME', () => {
  if (!hasNpm) {
    test.skip('needs a registry of npm', () => {})
    return
  }
  let key = ''

  test('README.md: start installs, listens, and prints a curl that works', async () => {
    await using server = begin('npx -y bun@1.4.5 run start', npmAlone)
    expect(new URL(await server.url).hostname).toBe('127.0.0.1')
    const [, curl = ''] = await server.printed(/^ {2}(curl .+)$/m)
    expect((await succeed(curl.replace('curl', 'curl -sS --fail-with-body'))).output).toBe('[]')
    key = /Bearer ([^"]+)/.exec(curl)?.[1] ?? ''
    const connectionString = stores().postgres18.url
    const body = { projectRef: 'default', name: 'kept', type: 'postgres', connectionString }
    const created = await clientOf(await server.url, key).request('POST', '/api/platform/databases', body)
    expect(created.status).toBe(201)

    const refused = await clone.run('bun run rewrap')
    const [line = ''] = /^bun-api: .*$/m.exec(refused.errors) ?? []
    const shown = line.replace(clone.path, '/srv/bun-api').replace(/process \d+/, 'process 4242')
    expect(refused.code).toBe(1)
    expect(await documentText('docs/operations.md')).toContain(`\n${shown}\n`)

    process.kill(-server.pid, 'SIGINT')
    await server.exited
    expect(server.lines.map((line) => (JSON.parse(line) as { event: string }).event)).toContain('stopped')
  })

  test('README.md: test ends with its counts', async () => {
    // All of it would run this file too: one file of it.
    const { last } = await succeed('npx -y bun@1.4.5 run test test/config.test.ts', npmAlone)
    expect(last).toMatch(/^\d+ passed, 0 failed$/)
  })

  test('README.md: smoke shows every request', async () => {
    const all = stores().redis !== null && stores().mongo !== null
    const { last } = await succeed('npx -y bun@1.4.5 run smoke', npmAlone)
    expect(last).toMatch(all ? /^\d+ requests ok$/ : /^\d+ requests ok, skipped: /)
  })

  test('README.md: nothing else is in that block', () => {
    const tried = ['start', 'test', 'smoke'].map((name) => `npx -y bun@1.4.5 run ${name}`)
    expect(start.commands.map(({ text }) => text)).toEqual(tried)
  })

  test('CONTRIBUTING.md: formats, tests and writes what is committed', async () => {
    const committed = () => Bun.file(join(clone.path, 'openapi.json')).text()
    const before = await committed()
    for (const { text } of contributing.commands) {
      // The first is README's, and the tests of a folder are many: one file of it.
      if (text === start.commands[1]?.text) continue
      await succeed(text.endsWith(' test/engines') ? `${text}/pool.test.ts` : text)
    }
    expect(await committed()).toBe(before)
  })

  test('docs/operations.md: the server starts both ways, and ends when it is told to', async () => {
    expect(serve.commands.map(({ text }) => text)).toEqual(['bun src/main.ts', 'bun run start'])
    await using server = startServer({ command: ['src/main.ts'], cwd: clone.path, env: clone.env })
    await server.url
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
    await using other = begin('bun run start')
    expect((await fetch(`${await other.url}/health/ready`)).status).toBe(200)
    process.kill(-other.pid, 'SIGTERM')
    await other.exited
  })

  test('docs/operations.md: a copy of the folder is a backup', async () => {
    const [copy, run = { text: '' }, ...rest] = copied.commands
    expect(rest).toEqual([])
    await succeed(copy?.text ?? '')
    await using server = begin(run.text)
    const listed = await clientOf(await server.url, key).request('GET', '/api/platform/databases')
    expect(await listed.json()).toMatchObject([{ name: 'kept' }])
  })

  test('docs/operations.md: makes a key, builds, migrates', async () => {
    expect((await succeed(random.script)).output).toMatch(/^[0-9a-f]{64}\n$/)
    await succeed(build.script)
    expect(await Bun.file(join(clone.path, 'dist/main.js')).exists()).toBe(true)
    await using registry = await createScratchDatabase(stores().postgres18)
    const { output } = await succeed(migrate.script, productionEnvironment(registry.url))
    expect(output.split('\n')).toContain('The registry is up to date.')
  })

  test('docs/operations.md: rewrap prints what is shown', async () => {
    await using registry = await createScratchDatabase(stores().postgres18)
    const [current, previous] = await Promise.all([newKey(), newKey()])
    const keys = { MULTI_DB_CRYPTO_KEY: current.text, MULTI_DB_CRYPTO_KEY_PREVIOUS: previous.text }
    const env = { ...productionEnvironment(registry.url), ...keys }
    await succeed('bun run migrate', env)
    await withClient(registry.url, async (sql) => {
      await insertRow(sql, await sealedRow(sql, previous.ring, 'redis', 'redis://redis.internal:6379/0'))
    })
    const printed: unknown[] = []
    for (const { text } of rewrap.commands) printed.push((await clone.run(text, env)).output.trimEnd())
    expect(printed).toEqual(rewrap.commands.map(({ comment }) => comment.replace('206', '1')))
  })

  describeWith('postgres15', 'docs/operations.md', (postgres15) => {
    test('a dump is restored with its credentials', async () => {
      // No newer than this pg_dump, which refuses newer servers.
      expect(await findCommand('pg_dump', 'postgresql-client')).not.toBeNull()
      await using registry = await createScratchDatabase(postgres15)
      await using restored = await createScratchDatabase(postgres15)
      const key = await newKey()
      const env = { ...productionEnvironment(registry.url), MULTI_DB_CRYPTO_KEY: key.text }
      await succeed('bun run migrate', env)
      await withClient(registry.url, async (sql) => {
        await insertRow(sql, await sealedRow(sql, key.ring, 'redis', 'redis://redis.internal:6379/0'))
      })
      await succeed(backup.script, { ...env, RESTORE_URL: restored.url })
      const { last } = await succeed('bun run rewrap', { ...env, DATABASE_URL: restored.url })
      expect(last).toBe('rewrapped: 0, skipped: 1, failed: 0')
    })
  })

  test.skipIf(wrk === null)('docs/performance.md: the bench takes each of these options', async () => {
    // At once, and so without the stores whose contents they would share.
    const outputs = bench.commands.map(async ({ text }) => {
      const named = text.includes('--only')
      const TEST_STORES = JSON.stringify({ ...stores(), mongo: null, ...(named ? {} : { redis: null }) })
      // The last of an option given twice counts: a second or two in place of ten minutes.
      const { output } = await succeed(`${text} --quick --seconds 1 --rounds 1${named ? '' : ' --only health'}`, {
        TEST_STORES,
      })
      return ['Get database', 'Redis GET', 'Health'].filter((row) => new RegExp(`^\\| ${row} +\\|`, 'm').test(output))
    })
    const health = ['Health']
    expect(await Promise.all(outputs)).toEqual([health, health, ['Get database', 'Redis GET'], health])
    expect(await Bun.file(join(clone.path, 'figures.json')).json()).toMatchObject({ options: { connections: 128 } })
  })

  test('docs/railway.md: the script explains itself', async () => {
    expect((await succeed(help.script)).output).toContain('--dry-run')
  })

  test("docs/studio.md: Studio's generator makes the types of a running server", async () => {
    const [, yaml = ''] = /```yaml\n([^]*?)```/.exec(await documentText('docs/studio.md')) ?? []
    await using registry = await createScratchDatabase(stores().postgres18)
    await using server = startServer({ env: productionEnvironment(registry.url) })
    const folder = join(clone.path, '.cache', 'studio')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'redocly.yaml'), yaml.replace('https://bun-api.example.com', await server.url))
    const PATH = `${join(clone.path, 'node_modules', '.bin')}:${clone.env['PATH']}`
    await succeed(studio.script, { PATH }, folder)
    expect(await Bun.file(join(folder, 'types/bun-api.d.ts')).text()).toContain('"/platform/databases"')
  })
})

const { redis, mongoAuth } = stores()
const memcached = redis === null || mongoAuth === null ? null : await startMemcached()
afterAll(() => memcached?.[Symbol.asyncDispose]())

test.skipIf(memcached === null)('docs/adding-an-engine.md: its commands pass where its steps were done', async () => {
  await using copy = await copyWithMemcached()
  const { [Symbol.asyncDispose]: _, ...server } = memcached ?? {}
  const more = { TEST_STORES: JSON.stringify(stores()), TEST_MEMCACHED: JSON.stringify(server) }
  await succeed(engine.script, more, copy.path)
  expect(await Bun.file(join(copy.path, 'openapi.json')).text()).toContain('"memcached"')
})

test('README.md names every route of the document', async () => {
  const readme = await documentText('README.md')
  // `/sets/{add,pop}` names two.
  const named = readme
    .slice(readme.indexOf('## Routes'), readme.indexOf('## Configuration'))
    .replaceAll(/(\S*)\{([\w/-]+(?:,[\w/-]+)+)\}`/g, (_, path: string, ends: string) =>
      ends
        .split(',')
        .map((end) => `${path}${end}\``)
        .join(' '),
    )
  const missing = Object.keys(openApiDocument().paths ?? {}).filter((path) => {
    const written = path.replace('/platform', '').replace('{databaseId}', '{id}')
    return !named.includes(`${written}\``) && !named.includes(`${written}?`) && !named.includes(`${written} `)
  })
  expect(missing).toEqual([])
})
