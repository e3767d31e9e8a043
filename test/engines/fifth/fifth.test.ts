import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stores } from '#test/support/stores.ts'
import { copyWithMemcached, fixture } from './copy.ts'
import { startMemcached } from './server.ts'

const { redis, mongoAuth } = stores()
const memcached = redis === null || mongoAuth === null ? null : await startMemcached()

describe.skipIf(memcached === null)('a fifth engine: one folder, one line, one migration', () => {
  let copy: Awaited<ReturnType<typeof copyWithMemcached>>
  beforeAll(async () => {
    copy = await copyWithMemcached()
  })
  afterAll(async () => {
    await copy?.[Symbol.asyncDispose]()
    await memcached?.[Symbol.asyncDispose]()
  })

  const bun = async (...args: readonly string[]) => {
    const { [Symbol.asyncDispose]: _, ...server } = memcached ?? {}
    const child = Bun.spawn([process.execPath, ...args], {
      cwd: copy.path,
      env: { ...process.env, TEST_STORES: JSON.stringify(stores()), TEST_MEMCACHED: JSON.stringify(server) },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
    return { code, text: output + errors }
  }
  const promises = (text: string) => [...text.matchAll(/^\((pass|fail)\) (.+?)(?: \[[\d.]+ms\])?$/gm)]

  test('it passes the conformance suite', async () => {
    const { code, text } = await bun(
      'test',
      '--timeout',
      '20000',
      'test/engines/conformance.test.ts',
      '-t',
      'memcached',
    )
    expect(promises(text).filter(([, outcome]) => outcome !== 'pass')).toEqual([])
    expect([code, promises(text).length >= 15]).toEqual([0, true])
  }, 120_000)

  test('the generic routes have it: registry, lists, test, info, rewrap, without a change anywhere else', async () => {
    const { code, text } = await bun('test', '--timeout', '20000', './test/engines/fifth/routes.ts')
    expect(promises(text).filter(([, outcome]) => outcome !== 'pass')).toEqual([])
    expect([code, promises(text).length]).toEqual([0, 5])
  }, 120_000)

  test('the whole tree still compiles', async () => {
    const { code, text } = await bun('check')
    expect([code, code === 0 ? '' : text]).toEqual([0, ''])
  }, 120_000)
})

test('docs/adding-an-engine.md shows this very code', async () => {
  const page = await readFile(join(import.meta.dir, '..', '..', '..', 'docs', 'adding-an-engine.md'), 'utf8')
  const shown = [
    ...page.matchAll(/^`(?:src\/engines\/memcached\/|migrations\/)(\S+)`:?\n\n```(?:ts|sql)\n([^]*?)```/gm),
  ]
  expect(shown.map(([, file]) => file)).toEqual([
    'engine.ts',
    'options.ts',
    'errors.ts',
    'values.ts',
    'session.ts',
    expect.stringMatching(/^\d{3}_memcached\.sql$/),
  ])
  for (const [, file = '', code] of shown)
    expect(code).toBe(await fixture(file.endsWith('.sql') ? 'migration.sql' : file))
})
