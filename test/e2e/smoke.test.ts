import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { createScratchDatabase } from '#test/support/app.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { canary, stores } from '#test/support/stores.ts'
import { clientOf, productionEnvironment, startServer } from './server.ts'

const script = join(import.meta.dir, '..', '..', 'scripts', 'smoke.ts')

async function smoke(args: readonly string[] = [], more: Readonly<Record<string, string>> = {}) {
  const { TEST_STORES: _, BUN_API_KEY: __, ...inherited } = process.env
  const env = { ...inherited, ...more }
  const child = Bun.spawn([process.execPath, script, ...args], { env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { code, errors, output, last: output.trimEnd().split('\n').at(-1) }
}

/** An unmasked password, whoever's it is. */
const password = /:\/\/[^:@/\s"]*:(?!\*{4}@)[^@\s"]*@/

describeWith('redis', 'bun run smoke', (redis) => {
  describeWith('mongo', 'with all four types', (mongo) => {
    test('unattended: starts stores and servers, and shows each request with its answer', async () => {
      const { code, errors, output, last } = await smoke()
      expect({ code, errors, last }).toEqual({ code: 0, errors: '', last: '38 requests ok' })
      const shown = output.match(/^(GET|POST|DELETE) \/.*$(\n {2}\{.*)?\n {2}\d{3} /gm) ?? []
      expect(shown).toHaveLength(38)
      expect(output).toContain('{"answer":42}')
      expect(output).toMatch(/\/bun-api\/[\w-]+\/health\n {2}200 \{"ok":true/)
      expect(output).not.toContain(canary)
      expect(output).not.toMatch(password)
    }, 120_000)

    test('against a running server: tries all it was given, and leaves nothing behind', async () => {
      await using registry = await createScratchDatabase(stores().postgres18)
      const env = productionEnvironment(registry.url)
      await using server = startServer({ env })
      const url = await server.url
      // Another one: a server refuses to dial its own port.
      await using peer = startServer({ env })
      const peerUrl = (await peer.url).replace('://', `://:${env.BUN_API_KEY}@`)
      const targets = ['--redis', redis.url, '--postgres', stores().postgres18.url]
      const all = [...targets, '--mongodb', mongo.url, '--bun-api', peerUrl]
      const { code, errors, output, last } = await smoke(['--url', `${url}/`, '--key', env.BUN_API_KEY, ...all])
      expect({ code, errors, last }).toEqual({ code: 0, errors: '', last: '38 requests ok' })
      expect(output).not.toContain(canary)
      const left = await clientOf(url, env.BUN_API_KEY).request('GET', '/api/platform/databases')
      expect(await left.json()).toEqual([])

      const refused = await smoke(['--url', url, '--key', `${canary}-wrong`, ...targets])
      expect({ code: refused.code, last: refused.last }).toEqual({
        code: 1,
        last: 'failed at request 3: GET /info answered 401, not 200',
      })
      const wrongStore = ['--redis', `redis://:${canary}@127.0.0.1:${new URL(url).port}/0`, ...targets.slice(2)]
      const failed = await smoke(['--url', url, '--key', env.BUN_API_KEY, ...wrongStore])
      expect({ code: failed.code, last: failed.last }).toEqual({
        code: 1,
        last: 'failed at request 4: ok is false, not true',
      })
      expect(refused.output + failed.output).not.toContain(canary)
    }, 120_000)
  })

  test('without connection strings: reads what the server registered at its start, and says what it skips', async () => {
    await using registry = await createScratchDatabase(stores().postgres18)
    const env = { ...productionEnvironment(registry.url), REDIS_URL: redis.url }
    await using server = startServer({ env })
    const url = await server.url
    const { code, errors, output, last } = await smoke(['--url', url], { BUN_API_KEY: env.BUN_API_KEY })
    expect({ code, errors, last }).toEqual({
      code: 0,
      errors: '',
      last: '9 requests ok, skipped: postgres, mongodb, bun_api',
    })
    expect(output).toContain('\nmongodb is skipped: --mongodb mongodb://… tries it\n')
    expect(output).not.toMatch(/^(POST .*\/set|DELETE .*)$/m)
    expect(output).not.toContain(canary)
    const left = await clientOf(url, env.BUN_API_KEY).request('GET', '/api/platform/databases')
    expect(await left.json()).toMatchObject([{ name: 'redis' }])
  }, 60_000)
})

describe('bun run smoke', () => {
  test('fails, and says so in one line, where no server listens', async () => {
    const { code, errors, output } = await smoke(['--url', 'http://127.0.0.1:1', '--key', canary])
    expect({ code, errors, output }).toEqual({
      code: 1,
      errors: '',
      output: expect.stringMatching(/^\nGET \/health\n\nfailed at request 1: .+\n$/),
    })
  })
})
