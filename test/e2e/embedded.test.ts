import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testKeys } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'
import { clientOf, type ServerProcess, startServer } from './server.ts'

describe('the server with nothing configured', () => {
  let folder = ''
  let server: ServerProcess
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bun-api-e2e-'))
    server = startServer({ env: { DATA_DIR: join(folder, 'data') } })
    await server.url
  }, 60_000)
  afterAll(async () => {
    await server[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  const start = () => startServer({ env: { DATA_DIR: join(folder, 'data') } })

  test('makes its keys where nobody else can read them', async () => {
    const [data, keys] = [await stat(join(folder, 'data')), await stat(join(folder, 'data', 'keys.json'))]
    expect({ folder: data.mode & 0o777, keys: keys.mode & 0o777 }).toEqual({ folder: 0o700, keys: 0o600 })
  })

  test('listens on loopback alone', async () => {
    expect(new URL(await server.url).hostname).toBe('127.0.0.1')
  })

  test('prints a curl that works as it stands', async () => {
    const { url, headers } = await printedCurl(server)
    expect(await (await fetch(url, { headers })).json()).toEqual([])
    expect((await fetch(url)).status).toBe(401)
  })

  test('prints no key that it was given: the curl takes it from the same variable', async () => {
    const BUN_API_KEY = testKeys().BUN_API_KEY
    await using other = startServer({ env: { DATA_DIR: join(folder, 'other'), BUN_API_KEY } })
    const { url, headers } = await printedCurl(other, { BUN_API_KEY })
    expect(await (await fetch(url, { headers })).json()).toEqual([])
    expect(other.errors()).not.toContain(BUN_API_KEY)
  }, 60_000)

  test('prints where the documentation is', async () => {
    const [, page = ''] = await server.printed(/Documentation +(\S+)/)
    expect((await fetch(page)).headers.get('content-type')).toStartWith('text/html')
  })

  test('refuses a second process on its folder, and names the first', async () => {
    await using second = start()
    expect({ code: await second.exited, log: second.lines, errors: second.errors() }).toEqual({
      code: 1,
      log: [],
      errors: expect.stringMatching(new RegExp(`^bun-api: .* is in use by process ${server.pid}: .*\\n$`)),
    })
  })

  test('keeps its keys and rows over a restart', async () => {
    const { headers } = await printedCurl(server)
    const key = headers.authorization.slice('Bearer '.length)
    const created = await clientOf(await server.url, key).request('POST', '/api/platform/databases', {
      projectRef: 'default',
      name: 'kept',
      type: 'postgres',
      connectionString: stores().postgres18.url,
    })
    const { id } = (await created.json()) as { id: string }
    expect(created.status).toBe(201)
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)

    server = start()
    const client = clientOf(await server.url, key)
    const answer = await client.request('POST', `/api/platform/postgres/${id}/query`, { query: 'select 1 as one' })
    expect(await answer.json()).toMatchObject({ rows: [{ one: 1 }] })
    expect((await printedCurl(server)).headers).toEqual(headers)
  }, 60_000)

  test('starts again after it was killed', async () => {
    server.kill('SIGKILL')
    await server.exited
    server = start()
    const { url, headers } = await printedCurl(server)
    expect((await (await fetch(url, { headers })).json()) as unknown).toMatchObject([{ name: 'kept' }])
  }, 60_000)
})

/** The request that the printed command makes when it is pasted into a shell. */
async function printedCurl(server: ServerProcess, env: Readonly<Record<string, string>> = {}) {
  const [command] = await server.printed(/^ {2}curl .+$/m)
  // The shell's own quoting and variables, with a curl that shows what it was given.
  const shell = Bun.spawn(['sh', '-c', `curl() { printf '%s\\n' "$@"; }; ${command}`], { env, stdout: 'pipe' })
  const [option, header = '', url = ''] = (await shell.stdout.text()).split('\n')
  const [name, authorization = ''] = header.split(': ')
  expect({ option, name }).toEqual({ option: '-H', name: 'Authorization' })
  return { url, headers: { authorization } }
}
