import { cp, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/**
 * Bundles the server and its commands into `dist/`, which runs without `node_modules`: `main.js`, `migrate.js`, `rewrap.js` and `smoke.js`
 * over shared chunks, beside them the migrations and the files that PGlite reads. Exits 1 with what the bundler says.
 */
const root = join(import.meta.dir, '..')
const outdir = join(root, 'dist')
const entrypoints = ['src/main.ts', 'scripts/migrate.ts', 'scripts/rewrap.ts', 'scripts/smoke.ts']
const pgliteFiles = ['pglite.wasm', 'pglite.data', 'initdb.wasm']

await rm(outdir, { recursive: true, force: true })
const { success, logs } = await Bun.build({
  entrypoints: entrypoints.map((entry) => join(root, entry)),
  outdir,
  target: 'bun',
  // What is imported lazily stays lazy, PGlite above all. All files in one folder: they find each other by `import.meta`.
  splitting: true,
  naming: { entry: '[name].js', chunk: '[name]-[hash].js', asset: '[name]-[hash].[ext]' },
  // Stores and a server for `smoke` are started from the repository only.
  external: [join(root, 'scripts/smoke/unattended.ts')],
  // Not minified, without source maps: stacks in the log name functions, and the start reads 3 MB in place of 9.
  minify: false,
  sourcemap: 'none',
  throw: false,
})
for (const { level, message } of logs) console.error(`${level}: ${message}`)
if (!success) process.exit(1)

const pglite = dirname(Bun.resolveSync('@electric-sql/pglite', root))
await Promise.all([
  cp(join(root, 'migrations'), join(outdir, 'migrations'), { recursive: true }),
  ...pgliteFiles.map((file) => cp(join(pglite, file), join(outdir, file))),
])
