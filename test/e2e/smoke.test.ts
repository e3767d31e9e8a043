import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { createScratchDatabase } from '#test/support/app.ts'
import { canary, stores } from '#test/support/stores.ts'
import { clientOf, productionEnvironment, startServer } from './server.ts'

const script = join(import.meta.dir, '..', '..', 'scripts', 'smoke.ts')

async function smoke(...args: string[]) {
  const { TEST_STORES: _, ...env } = process.env
  const child = Bun.spawn([process.execPath, script, ...args], { env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { code, errors, output, last: output.trimEnd().split('\n').at(-1) }
}

/** An unmasked password, whoever's it is. */
const password = /:\/\/[^:@/\s"]*:(?!\*{4}@)[^@\s"]*@/

describe('bun run smoke', () => {
  test('unattended: starts stores and server, and shows each request with its answer', async () => {
    const { code, errors, output, last } = await smoke()
    expect({ code, errors, last }).toEqual({ code: 0, errors: '', last: '21 requests ok' })
    const shown = output.match(/^(GET|POST|DELETE) \/.*$(\n {2}\{.*)?\n {2}\d{3} /gm) ?? []
    expect(shown).toHaveLength(21)
    expect(output).toContain('{"answer":42}')
    expect(output).not.toContain(canary)
    expect(output).not.toMatch(password)
  }, 60_000)

  test('against a running server: leaves nothing behind', async () => {
    await using registry = await createScratchDatabase(stores().postgres18)
    const env = productionEnvironment(registry.url)
    await using server = startServer({ env })
    const url = await server.url
    const targets = ['--redis', stores().redis?.url ?? '', '--postgres', stores().postgres18.url]
    const { code, errors, output, last } = await smoke('--url', `${url}/`, '--key', env.BUN_API_KEY, ...targets)
    expect({ code, errors, last }).toEqual({ code: 0, errors: '', last: '21 requests ok' })
    expect(output).not.toContain(canary)
    const left = await clientOf(url, env.BUN_API_KEY).request('GET', '/api/platform/databases')
    expect(await left.json()).toEqual([])

    const refused = await smoke('--url', url, '--key', `${canary}-wrong`, ...targets)
    expect({ code: refused.code, last: refused.last }).toEqual({
      code: 1,
      last: 'failed at request 3: GET /info answered 401, not 200',
    })
    const wrongStore = ['--redis', `redis://:${canary}@127.0.0.1:${new URL(url).port}/0`, ...targets.slice(2)]
    const failed = await smoke('--url', url, '--key', env.BUN_API_KEY, ...wrongStore)
    expect({ code: failed.code, last: failed.last }).toEqual({
      code: 1,
      last: 'failed at request 4: ok is false, not true',
    })
    expect(refused.output + failed.output).not.toContain(canary)
  }, 60_000)
})
