import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '#src/config.ts'
import { findCommand } from '#test/support/debian.ts'

const root = join(import.meta.dir, '../..')
const script = join(root, 'scripts/setup-multi-db-env.sh')

/** Keeps the variables of each service in a file, as the real one does in a project, and notes the arguments it was given. */
const fakeRailway = `#!/usr/bin/env bash
set -euo pipefail
printf '%s\\n' "$*" >> "$RAILWAY_FAKE/calls"
command="$1 $2"
shift 2
name= service= stdin=false kv=false
while (($# > 0)); do
  case $1 in
    --service) service=$2; shift ;;
    --environment) shift ;;
    --stdin) stdin=true ;;
    --kv) kv=true ;;
    --skip-deploys) ;;
    -*) exit 64 ;;
    *) name=$1 ;;
  esac
  shift
done
file="$RAILWAY_FAKE/$service"
[[ -f $file ]] || { echo "Service $service not found" >&2; exit 1; }
case $command in
  'variable list') [[ $kv == true ]] && cat "$file" ;;
  'variable set')
    [[ $stdin == true && -n $name ]] || exit 64
    [[ $name != "\${RAILWAY_FAIL_ON:-}" ]] || exit 1
    value=$(cat)
    { grep -v "^$name=" "$file" || true; printf '%s=%s\\n' "$name" "$value"; } > "$file.new"
    mv "$file.new" "$file"
    printf 'Set variables %s=%s\\n' "$name" "$value" ;;
  *) exit 64 ;;
esac
`

describe('scripts/setup-multi-db-env.sh', () => {
  let folder = ''
  beforeAll(async () => {
    expect(await findCommand('openssl', 'openssl')).not.toBeNull()
    folder = await mkdtemp(join(tmpdir(), 'bun-api-railway-'))
    await mkdir(join(folder, 'bin'))
    await writeFile(join(folder, 'bin/railway'), fakeRailway, { mode: 0o755 })
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  /** A project whose services have these variables. */
  const project = async (services: Readonly<Record<string, string>>) => {
    const state = await mkdtemp(join(folder, 'project-'))
    for (const [name, variables] of Object.entries(services)) await writeFile(join(state, name), variables)
    const variables = async (service: string) => {
      const lines = (await readFile(join(state, service), 'utf8')).trimEnd().split('\n')
      return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s, 2) as [string, string]))
    }
    const run = async (args: readonly string[] = [], more: Readonly<Record<string, string>> = {}) => {
      const env = { PATH: `${join(folder, 'bin')}:${process.env['PATH']}`, RAILWAY_FAKE: state, ...more }
      const child = Bun.spawn(['bash', script, ...args], { env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
      const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
      return { code, output, errors }
    }
    const calls = async () => (await readFile(join(state, 'calls'), 'utf8')).trimEnd().split('\n')
    return { run, variables, calls }
  }

  const key = /^[0-9a-f]{64}$/
  const services = { 'bun-api': '', studio: '' }

  test('is a script that bash reads, and executable', async () => {
    expect(Bun.spawnSync(['bash', '-n', script]).exitCode).toBe(0)
    expect(Bun.spawnSync([script, '--help']).stdout.toString()).toContain('--dry-run')
  })

  test('sets new keys, references and flags, and Studio to them; the server takes them', async () => {
    const { run, variables, calls } = await project(services)
    const { code, output, errors } = await run()
    expect({ code, errors }).toEqual({ code: 0, errors: '' })
    const api = await variables('bun-api')
    expect(api).toEqual({
      MULTI_DB_CRYPTO_KEY: expect.stringMatching(key),
      BUN_API_KEY: expect.stringMatching(key),
      PORT: '3000',
      DATABASE_URL: '${{Postgres.DATABASE_URL}}',
      REDIS_URL: '${{Redis.REDIS_URL}}',
      MONGODB_URL: '${{MongoDB.MONGO_URL}}',
      ENABLE_REDIS_MANAGEMENT: 'true',
      ENABLE_MONGODB_MANAGEMENT: 'true',
      ENABLE_BUN_API_MANAGEMENT: 'true',
    })
    expect(api['BUN_API_KEY']).not.toBe(api['MULTI_DB_CRYPTO_KEY'])
    expect(await variables('studio')).toEqual({
      BUN_API_URL: 'http://${{bun-api.RAILWAY_PRIVATE_DOMAIN}}:${{bun-api.PORT}}',
      BUN_API_KEY: '${{bun-api.BUN_API_KEY}}',
    })
    const filledIn = { DATABASE_URL: 'postgresql://u:p@h/d', REDIS_URL: 'redis://h', MONGODB_URL: 'mongodb://h/d' }
    expect(loadConfig({ ...api, ...filledIn }).mode).toBe('production')

    const seen = [output, ...(await calls())].join('\n')
    expect(seen).not.toContain(api['BUN_API_KEY'])
    expect(seen).not.toContain(api['MULTI_DB_CRYPTO_KEY'])
    expect(await calls()).toContain('variable set BUN_API_KEY --stdin --service bun-api --skip-deploys')
  })

  test('a second run changes no key and nothing that somebody has set', async () => {
    const given = `MULTI_DB_CRYPTO_KEY=${'a'.repeat(64)}\nBUN_API_KEY=${'b'.repeat(64)}\nPORT=8080\nDATABASE_URL=postgresql://own\n`
    const { run, variables } = await project({ ...services, 'bun-api': given })
    const { code, output } = await run()
    expect({ code, kept: [...(output.match(/^bun-api: \w+ is kept$/gm) ?? [])] }).toEqual({
      code: 0,
      kept: ['MULTI_DB_CRYPTO_KEY', 'BUN_API_KEY', 'PORT', 'DATABASE_URL'].map((name) => `bun-api: ${name} is kept`),
    })
    expect(await variables('bun-api')).toMatchObject({
      MULTI_DB_CRYPTO_KEY: 'a'.repeat(64),
      BUN_API_KEY: 'b'.repeat(64),
      PORT: '8080',
      DATABASE_URL: 'postgresql://own',
    })
    expect(output).not.toContain('a'.repeat(64))
  })

  test('--rotate makes new keys and loses none that may have sealed something', async () => {
    const { run, variables } = await project(services)
    await run()
    const first = await variables('bun-api')
    expect((await run(['--rotate'])).code).toBe(0)
    const second = await variables('bun-api')
    expect({ ...second }).toMatchObject({
      MULTI_DB_CRYPTO_KEY: expect.stringMatching(key),
      MULTI_DB_CRYPTO_KEY_PREVIOUS: first['MULTI_DB_CRYPTO_KEY'],
      BUN_API_KEY_PREVIOUS: first['BUN_API_KEY'],
    })
    expect(second['MULTI_DB_CRYPTO_KEY']).not.toBe(first['MULTI_DB_CRYPTO_KEY'])

    // Broken off between the two writes, and repeated.
    const broken = await run(['--rotate'], { RAILWAY_FAIL_ON: 'MULTI_DB_CRYPTO_KEY' })
    expect({ code: broken.code, errors: broken.errors }).toEqual({
      code: 1,
      errors: expect.stringContaining('MULTI_DB_CRYPTO_KEY of bun-api could not be set'),
    })
    const { output } = await run(['--rotate'])
    const third = await variables('bun-api')
    const previous = [second['MULTI_DB_CRYPTO_KEY'], first['MULTI_DB_CRYPTO_KEY']].join(',')
    expect(third).toMatchObject({
      MULTI_DB_CRYPTO_KEY: expect.stringMatching(key),
      MULTI_DB_CRYPTO_KEY_PREVIOUS: previous,
      BUN_API_KEY_PREVIOUS: second['BUN_API_KEY'],
    })
    for (const secret of Object.values({ ...first, ...second, ...third }).filter((value) => key.test(value)))
      expect(output).not.toContain(secret)
  })

  test('--dry-run prints what would be set, secrets masked, and changes nothing', async () => {
    const { run, variables, calls } = await project({ ...services, 'bun-api': `BUN_API_KEY=${'b'.repeat(64)}\n` })
    const { code, output } = await run(['--dry-run', '--rotate', '--redis', '', '--environment', 'staging'])
    expect({ code, lines: output.trimEnd().split('\n') }).toEqual({
      code: 0,
      lines: [
        'bun-api: MULTI_DB_CRYPTO_KEY=****',
        'bun-api: BUN_API_KEY_PREVIOUS=****',
        'bun-api: BUN_API_KEY=****',
        'bun-api: PORT=3000',
        'bun-api: DATABASE_URL=${{Postgres.DATABASE_URL}}',
        'bun-api: MONGODB_URL=${{MongoDB.MONGO_URL}}',
        'bun-api: ENABLE_REDIS_MANAGEMENT=true',
        'bun-api: ENABLE_MONGODB_MANAGEMENT=true',
        'bun-api: ENABLE_BUN_API_MANAGEMENT=true',
        'studio: BUN_API_URL=http://${{bun-api.RAILWAY_PRIVATE_DOMAIN}}:${{bun-api.PORT}}',
        'studio: BUN_API_KEY=${{bun-api.BUN_API_KEY}}',
        'Nothing was changed.',
      ],
    })
    expect(await variables('bun-api')).toEqual({ BUN_API_KEY: 'b'.repeat(64) })
    expect(await calls()).toEqual(['variable list --service bun-api --environment staging --kv'])
  })

  test('stops where the service is not found, or an option is wrong, before anything is set', async () => {
    const { run, calls } = await project({ studio: '' })
    const { code, errors } = await run()
    expect({ code, errors }).toEqual({
      code: 1,
      errors: expect.stringContaining("the variables of bun-api can't be read"),
    })
    expect((await run(['--rotat'])).code).toBe(2)
    expect(await calls()).toEqual(['variable list --service bun-api --kv'])
  })
})
