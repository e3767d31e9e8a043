import { expect, test } from 'bun:test'
import { join } from 'node:path'

const root = join(import.meta.dir, '../..')

/** The packages a process has loaded that imported what it was told. */
async function packagesOf(...modules: readonly string[]): Promise<ReadonlySet<string>> {
  const script = `
    for (const name of ${JSON.stringify(modules)}) await import(name)
    console.log(Object.keys(require.cache).join('\\n'))
  `
  const child = Bun.spawn([process.execPath, '-e', script], { cwd: root, stdin: 'ignore', stderr: 'inherit' })
  const loaded = await child.stdout.text()
  expect(await child.exited).toBe(0)
  return new Set(Array.from(loaded.matchAll(/.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//g), ([, name]) => String(name)))
}

test('a start does not load the MongoDB driver, whose BSON takes 17 MiB; a session does', async () => {
  const [start, session] = await Promise.all([
    packagesOf('#src/app.ts', '#src/deps.ts'),
    packagesOf('#src/engines/mongodb/session.ts'),
  ])
  expect({
    start: [start.has('hono'), start.has('mongodb'), start.has('bson')],
    session: [session.has('mongodb'), session.has('bson')],
  }).toEqual({ start: [true, false, false], session: [true, true] })
})
