import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dir, '..', '..', '..')
const copied = [
  'src',
  'routes',
  'migrations',
  'test',
  'scripts',
  'bench',
  'package.json',
  'tsconfig.json',
  'bunfig.toml',
]
const files = ['engine.ts', 'errors.ts', 'options.ts', 'session.ts', 'values.ts']

/** A file of the fixture as it stands in `src/engines/memcached/`, where its sisters are neighbours. */
export async function fixture(file: string): Promise<string> {
  const text = await readFile(join(import.meta.dir, file), 'utf8')
  return text.replaceAll("'#src/engines/", "'../").replaceAll("'#src/", "'../../")
}

/** The repository with memcached added, as docs/adding-an-engine.md says: a folder, a line, a migration, and its expectations. */
export async function copyWithMemcached(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'fifth-engine-'))
  for (const name of copied) await cp(join(root, name), join(path, name), { recursive: true })
  await symlink(join(root, 'node_modules'), join(path, 'node_modules'))

  const folder = join(path, 'src', 'engines', 'memcached')
  await mkdir(folder)
  for (const file of files) await writeFile(join(folder, file), await fixture(file))
  await edit(join(path, 'src', 'engines', 'index.ts'), [
    [/^(?=import \{ mongodb \})/m, "import { memcached } from './memcached/engine.ts'\n"],
    [/(?<=defineEngines\([^)]*)(?=\))/, ', memcached'],
  ])
  const last = (await readdir(join(path, 'migrations'))).sort().at(-1)
  const number = String(Number.parseInt(last ?? '') + 1).padStart(3, '0')
  await cp(join(import.meta.dir, 'migration.sql'), join(path, 'migrations', `${number}_memcached.sql`))

  await edit(join(path, 'test', 'engines', 'conformance.ts'), [
    [/^(?=import \{ bunApiPeer \})/m, "import { ofMemcached } from './fifth/expectations.ts'\n"],
    [/(?<=^ {2}return \{\n)(?= {4}redis: \{)/m, '    memcached: ofMemcached(common),\n'],
  ])
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

async function edit(path: string, insertions: readonly (readonly [RegExp, string])[]): Promise<void> {
  let text = await readFile(path, 'utf8')
  for (const [place, inserted] of insertions) {
    if (!place.test(text)) throw new Error(`${path} has changed: ${place} is not found`)
    text = text.replace(place, inserted)
  }
  await writeFile(path, text)
}
