import { openApiDocument } from '#routes/index.ts'

/** Writes `openapi.json`; with `--check` exits 1 when the committed file is another. */
const path = new URL('../openapi.json', import.meta.url).pathname
const text = `${JSON.stringify(openApiDocument(), null, 2)}\n`
if (process.argv.includes('--check')) {
  const same = (await Bun.file(path).text()) === text
  if (!same) console.error('openapi.json is not what the routes say: run `bun run openapi`')
  process.exit(same ? 0 : 1)
}
await Bun.write(path, text)
