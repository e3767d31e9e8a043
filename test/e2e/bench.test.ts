import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findCommand } from '#test/support/debian.ts'
import { reportMissing } from '#test/support/environment.ts'
import { measure } from '../../bench/measure.ts'
import { createRunner } from '../../bench/wrk.ts'

const root = join(import.meta.dir, '..', '..')
const wrk = (await findCommand('wrk', 'wrk')) ?? reportMissing('wrk', 'as root on Debian, apt-get install wrk')

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bun-api-bench-test-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** On the stores of this run. */
async function bench(...args: string[]) {
  const command = [process.execPath, join(root, 'bench', 'main.ts'), ...args]
  const child = Bun.spawn(command, { env: process.env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { code, output, errors }
}

describe('bun run bench', () => {
  test('refuses a name that nothing has, and lists those that exist', async () => {
    const { code, output, errors } = await bench('--only', 'everything')
    expect({ code, output }).toEqual({ code: 1, output: '' })
    expect(errors).toStartWith('--only everything is not one of list, get, redis-get, ')
  })

  if (wrk === null) {
    test.skip('needs wrk', () => {})
    return
  }

  test('prints an operation with its target and its share of a bare server, and writes them', async () => {
    const file = join(folder, 'result.json')
    const { code, output, errors } = await bench('--quick', '--only', 'get', '--connections', '8', '--output', file)
    expect({ code, errors }).toEqual({ code: 0, errors: '' })
    expect(output).toMatch(/^\| operation +\| p50 +\| p95 +\| p99 +\| req\/s +\| target +\| met +\|$/m)
    expect(output).toMatch(/^\| Get database( +\| [\d.]+ ms){3} +\| \d+ +\| p99 < 30 ms, > 2000\/s +\| (yes|no) +\|$/m)
    const number = expect.any(Number)
    const { commit, rssAfterLoadMiB, ...rest } = (await Bun.file(file).json()) as Readonly<Record<string, unknown>>
    // Neither is known everywhere.
    expect([commit ?? '', rssAfterLoadMiB ?? 0]).toEqual([expect.any(String), number])
    expect(rest).toEqual({
      date: expect.stringMatching(/^\d{4}-\d\d-\d\d$/),
      machine: { cpu: expect.any(String), cores: number, memoryGiB: number, kernel: expect.any(String) },
      versions: expect.objectContaining({ bun: Bun.version, wrk: expect.any(String), postgres: expect.any(String) }),
      options: { quick: true, seconds: 1, rounds: 1, connections: 8 },
      start: null,
      operations: [
        {
          name: 'get',
          p50: number,
          p95: number,
          p99: number,
          perSecond: number,
          range: [number, number],
          target: 'p99 < 30 ms, > 2000/s',
          met: expect.any(Boolean),
        },
      ],
      bare: { bun: number, hono: number },
      ratios: [{ name: 'get', ofHono: number, range: [number, number], ofBun: number, reached: expect.any(String) }],
      layers: null,
      access: null,
      scale: null,
      scan: null,
      webdis: null,
    })
  }, 60_000)

  test('an answer of 400 and above is no measurement', async () => {
    let answers = 0
    await using server = Bun.serve({ port: 0, fetch: () => new Response('', { status: answers++ < 5 ? 200 : 503 }) })
    const requests = [{ method: 'GET', path: '/' }] as const
    const load = { name: 'failing', origin: server.url.origin, headers: {}, requests }
    const run = createRunner(wrk, folder, 2)
    const [seen] = await measure([load], run, { rounds: 1, seconds: 1, warmUpSeconds: 1 })
    expect(seen?.failure).toMatch(/^[1-9]\d* answers of 400 and above, 0 broken requests$/)
  }, 30_000)

  test('the wrong answer is no measurement', async () => {
    await using server = Bun.serve({ port: 0, fetch: () => new Response('welcome') })
    const requests = [{ method: 'GET', path: '/' }] as const
    const load = { name: 'wrong', origin: server.url.origin, headers: {}, requests, contains: 'hello' }
    const [seen] = await measure([load], createRunner(wrk, folder, 2), { rounds: 1, seconds: 1, warmUpSeconds: 1 })
    expect(seen?.failure).toBe('GET / answered 200: welcome')
  })
})
