import { describe, expect, test } from 'bun:test'
import { dirname, join, normalize } from 'node:path'

const root = join(import.meta.dir, '..', '..')
const transpiler = new Bun.Transpiler({ loader: 'ts' })
const aliases: readonly (readonly [string, string])[] = [
  ['#src/', 'src/'],
  ['#routes/', 'routes/'],
  ['#test/', 'test/'],
  ['#package', 'package.json'],
]

interface SourceFile {
  readonly path: string
  readonly text: string
  /** Paths inside the repository, or names of packages; imports of types are among them. */
  readonly imports: readonly string[]
}

const files = await Promise.all([...new Bun.Glob('{src,routes,scripts}/**/*.ts').scanSync(root)].sort().map(read))
const inFolder = (folder: string) => files.filter(({ path }) => path.startsWith(folder))
const importers = (name: string) => files.filter(({ imports }) => imports.includes(name)).map(({ path }) => path)

/** `<file> imports <other>` for every import of these files that is not allowed. */
function breaches(
  from: readonly SourceFile[],
  isAllowed: (imported: string, path: string) => boolean,
): readonly string[] {
  return from.flatMap(({ path, imports }) =>
    imports
      .filter((imported) => isLocal(imported) && !isAllowed(imported, path))
      .map((imported) => `${path} imports ${imported}`),
  )
}

describe('imports point one way', () => {
  test('there is something to look at', () => {
    expect(files.length).toBeGreaterThan(60)
    expect(files.flatMap(({ imports }) => imports.filter(isLocal)).length).toBeGreaterThan(200)
  })

  test('only serve.ts and main.ts stand above app.ts', () => {
    expect(importers('src/app.ts')).toEqual(['src/serve.ts'])
    expect(importers('src/serve.ts')).toEqual(['src/main.ts'])
    expect(importers('src/main.ts')).toEqual([])
  })

  test('src knows nothing of routes, but for app.ts', () => {
    expect(
      breaches(inFolder('src/'), (imported, path) => !imported.startsWith('routes/') || path === 'src/app.ts'),
    ).toEqual([])
  })

  test('routes stand on src/http, src/registry, src/engines, src/credentials and errors', () => {
    const allowed =
      /^(routes\/|src\/(http|registry|engines|credentials|access)\/|src\/(errors|deps)\.ts$|package\.json$)/
    expect(breaches(inFolder('routes/'), (imported) => allowed.test(imported))).toEqual([])
  })

  for (const folder of ['src/engines/', 'src/credentials/']) {
    test(`${folder} imports nothing above it`, () => {
      const allowed = (imported: string) => imported.startsWith(folder) || imported === 'src/errors.ts'
      expect(breaches(inFolder(folder), allowed)).toEqual([])
    })
  }

  test('no engine imports another', () => {
    const engines = [...new Set(inFolder('src/engines/').map(({ path }) => dirname(path)))].filter(
      (path) => path !== 'src/engines',
    )
    const folderOf = (path: string) => engines.find((engine) => path.startsWith(`${engine}/`))
    const own = (imported: string, path: string) =>
      folderOf(imported) === undefined || folderOf(imported) === folderOf(path)
    const inEngines = inFolder('src/engines/').filter(({ path }) => folderOf(path) !== undefined)
    expect(engines).toContain('src/engines/redis')
    expect(breaches(inEngines, own)).toEqual([])
  })

  test('the registry knows nothing of HTTP', () => {
    const allowed = /^src\/(registry|engines|credentials)\/|^src\/(errors|log|config)\.ts$/
    expect(breaches(inFolder('src/registry/'), (imported) => allowed.test(imported))).toEqual([])
  })

  test('nothing that ships imports a test, a script but the smoke run', () => {
    const shipped = files.filter(({ path }) => !path.startsWith('scripts/'))
    expect(breaches(shipped, (imported) => !/^(test|scripts|bench)\//.test(imported))).toEqual([])
  })
})

describe('the source', () => {
  test('routes take z only from @hono/zod-openapi', () => {
    expect(importers('zod').filter((path) => path.startsWith('routes/'))).toEqual([])
  })

  test('process.env is read in src/main.ts and scripts alone', () => {
    const readers = files.filter(({ text }) => /process\.env|Bun\.env|import\.meta\.env/.test(withoutComments(text)))
    expect(
      readers.map(({ path }) => path).filter((path) => path !== 'src/main.ts' && !path.startsWith('scripts/')),
    ).toEqual([])
  })

  test('no file is longer than 250 lines', () => {
    const long = files.map(({ path, text }) => [path, text.split('\n').length - 1] as const)
    expect(long.filter(([, lines]) => lines > 250)).toEqual([])
  })
})

async function read(path: string): Promise<SourceFile> {
  const text = await Bun.file(join(root, path)).text()
  // The transpiler drops imports of types, and the pattern does not see `import()`; the direction holds for both.
  const types = [...text.matchAll(/^(?:import|export)\b[^'"]*?\bfrom '([^']+)'/gm)].map(([, name = '']) => name)
  const found = [...types, ...transpiler.scanImports(text).map((entry) => entry.path)]
  return { path, text, imports: [...new Set(found)].map((name) => resolve(name, path)) }
}

function resolve(specifier: string, from: string): string {
  if (specifier.startsWith('.')) return normalize(join(dirname(from), specifier))
  for (const [alias, folder] of aliases) if (specifier.startsWith(alias)) return specifier.replace(alias, folder)
  return specifier
}

function isLocal(imported: string): boolean {
  return /^(src|routes|scripts|test|bench)\/|^package\.json$/.test(imported)
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
}
