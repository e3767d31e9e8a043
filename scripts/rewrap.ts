import { parseArgs } from 'node:util'
import { loadConfig, takeEnvironment } from '#src/config.ts'
import { createDeps } from '#src/deps.ts'
import { engines } from '#src/engines/index.ts'
import { rewrap, type RewrapCounts } from '#src/registry/rewrap.ts'
import { startFailure } from '#src/start-failure.ts'

/**
 * Seals every stored connection string under the current key: `bun run rewrap [--dry-run] [--batch 100]`. A line per row that could not be
 * done on standard error, the counts as the last line of standard output. Exits 0 when none remains, 1 when some do, 2 for wrong arguments.
 */
const { dryRun, batch } = readArguments()
try {
  const { rewrapped, skipped, failed } = await run()
  console.log(`${dryRun ? 'would be rewrapped' : 'rewrapped'}: ${rewrapped}, skipped: ${skipped}, failed: ${failed}`)
  process.exitCode = failed > 0 || (dryRun && rewrapped > 0) ? 1 : 0
} catch (error) {
  const { line, exitCode } = startFailure(error)
  console.error(line)
  process.exitCode = exitCode
}

async function run(): Promise<RewrapCounts> {
  const config = loadConfig(takeEnvironment(process.env))
  // Registering the operator's own stores is the server's work: a dry run changes no row.
  await using deps = await createDeps({ ...config, REDIS_URL: undefined, MONGODB_URL: undefined })
  return await rewrap({
    store: deps.databases,
    keyring: deps.keyring,
    engines,
    legacyPassphrase: config.PG_META_CRYPTO_KEY,
    batch,
    dryRun,
    report: (id, problem) => console.error(`${id}: ${problem}`),
  })
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: { 'dry-run': { type: 'boolean', default: false }, batch: { type: 'string', default: '100' } },
    })
    const rows = /^\d{1,5}$/.test(values.batch) ? Number(values.batch) : 0
    if (rows >= 1 && rows <= 10_000) return { dryRun: values['dry-run'], batch: rows }
  } catch {
    // An option that does not exist: the same sentence says what there is.
  }
  console.error('bun-api: rewrap takes --dry-run and --batch, a whole number from 1 to 10000')
  process.exit(2)
}
