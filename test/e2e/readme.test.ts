import { expect, test } from 'bun:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testKeys } from '#test/support/app.ts'
import { findCommand } from '#test/support/debian.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { stores } from '#test/support/stores.ts'
import { startServer } from './server.ts'

const readme = await Bun.file(join(import.meta.dir, '../../README.md')).text()

/** The commands under a heading's first `sh` block, a line each. */
function commandsUnder(heading: string): readonly string[] {
  const block =
    readme
      .slice(readme.indexOf(`## ${heading}`))
      .split('```sh\n')[1]
      ?.split('```')[0] ?? ''
  return block
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '')
}

describeWith('redis', 'README.md', (redis) => {
  test('its first requests work as they are written', async () => {
    const curl = await findCommand('curl', 'curl')
    expect(curl).not.toBeNull()
    const folder = await mkdtemp(join(tmpdir(), 'bun-api-readme-'))
    await using cleanup = new AsyncDisposableStack()
    cleanup.defer(() => rm(folder, { recursive: true, force: true }))
    const keys = testKeys()
    const server = cleanup.use(startServer({ env: { ...keys, DATA_DIR: folder } }))
    const env: Record<string, string> = { PATH: process.env['PATH'] ?? '', KEY: keys.BUN_API_KEY }
    let last: { id?: string; error?: unknown } = {}
    const answers: unknown[] = []
    for (const command of commandsUnder('First requests')) {
      const [, name, value] = /^export (\w+)=(\S+)$/.exec(command) ?? []
      if (name === 'KEY') continue
      if (name !== undefined) {
        env[name] = value === '…' ? String(last.id) : String(value).replace('http://127.0.0.1:3000', await server.url)
        continue
      }
      const real = command
        .replace('redis://default:password@127.0.0.1:6379/0', redis.url)
        .replace('postgresql://postgres:password@127.0.0.1:5432/postgres', stores().postgres18.url)
      const { stdout, exitCode } = Bun.spawnSync(['bash', '-c', real.replace('curl', 'curl -sS --fail-with-body')], {
        env,
      })
      expect({ command, exitCode, output: exitCode === 0 ? '' : stdout.toString() }).toEqual({
        command,
        exitCode: 0,
        output: '',
      })
      last = JSON.parse(stdout.toString())
      answers.push(last)
    }
    expect(answers).toMatchObject([
      { name: 'cache', type: 'redis' },
      { key: 'greeting', written: true },
      { key: 'greeting', value: 'hello' },
      { data: [{ key: 'greeting', type: 'string' }] },
      { name: 'main', type: 'postgres' },
      { rows: [{ big: '9007199254740993' }] },
      [],
    ])
  }, 60_000)
})

describeWith('redis', 'docs', (redis) => {
  describeWith('mongo', 'guides', (mongo) => {
    test('their commands work as they are written', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'bun-api-docs-'))
      await using cleanup = new AsyncDisposableStack()
      cleanup.defer(() => rm(folder, { recursive: true, force: true }))
      const keys = testKeys()
      const server = cleanup.use(startServer({ env: { ...keys, DATA_DIR: folder } }))
      const env = { PATH: process.env['PATH'] ?? '', BUN_API_KEY: keys.BUN_API_KEY }
      const places = [
        ['http://127.0.0.1:3000', await server.url],
        ['redis://default:password@127.0.0.1:6379/0', redis.url],
        ['postgresql://postgres:password@127.0.0.1:5432/postgres', stores().postgres18.url],
        ['mongodb://127.0.0.1:27017', `mongodb://127.0.0.1:${mongo.port}`],
        ['curl -s ', 'curl -sS --fail-with-body '],
      ] as const
      for (const guide of ['redis', 'postgres', 'mongodb']) {
        const text = await Bun.file(join(import.meta.dir, '../../docs', `${guide}.md`)).text()
        const written = [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block).join('\n')
        const script = places.reduce((all, [from, to]) => all.replaceAll(from, to), written)
        const { stdout, stderr, exitCode } = Bun.spawnSync(['bash', '-euc', script], { env })
        const said = exitCode === 0 ? '' : `${stdout}${stderr}`
        expect({ guide, exitCode, said }).toEqual({ guide, exitCode: 0, said: '' })
      }
    }, 60_000)
  })
})

test('README.md names every route of the document', async () => {
  const document = await Bun.file(join(import.meta.dir, '../../openapi.json')).json()
  const named = readme.slice(readme.indexOf('## Routes'), readme.indexOf('## Configuration'))
  const missing = Object.keys(document.paths).filter((path) => {
    const written = path.replace('/platform', '').replace('{databaseId}', '{id}')
    return !named.includes(`${written}\``) && !named.includes(`${written}?`) && !named.includes(`${written} `)
  })
  expect(missing).toEqual([])
})
