import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { deletePostgresVariables } from '#test/support/environment.ts'
import { startStores } from '#test/support/stores.ts'

/**
 * The whole gate: format, types, lint, and every test on real stores. Arguments go to `bun test`. The last line is
 * `N passed, N failed`, with `, N skipped` where something was.
 */
interface Outcome {
  readonly passed: number
  readonly failures: readonly string[]
  readonly skipped: number
}

const root = join(import.meta.dir, '..')
const gates = {
  'fmt --check': ['fmt', '--check'],
  check: ['check'],
  oxlint: ['node_modules/.bin/oxlint', '--deny-warnings'],
} as const
// The tests end with this process, however it ends. The bunfig's `[test] timeout` has no effect in Bun 1.4.5.
const flags = ['--no-orphans', '--timeout=20000'] as const

deletePostgresVariables()
const outcomes = await Promise.all([
  runTests(process.argv.slice(2)).catch(failedToRun),
  ...Object.entries(gates).map(runGate),
])
const failures = outcomes.flatMap((outcome) => outcome.failures)
const total = (count: (outcome: Outcome) => number) => outcomes.reduce((sum, outcome) => sum + count(outcome), 0)
const skipped = total((outcome) => outcome.skipped)

if (failures.length > 0) console.log(`\nFailed:\n${failures.map((failure) => `  ✗ ${failure}`).join('\n')}`)
const counts = [`${total((outcome) => outcome.passed)} passed`, `${failures.length} failed`]
console.log(`\n${[...counts, ...(skipped > 0 ? [`${skipped} skipped`] : [])].join(', ')}`)
process.exitCode = failures.length > 0 ? 1 : 0

async function runGate([name, args]: readonly [string, readonly string[]]): Promise<Outcome> {
  const child = spawn(args)
  const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()])
  const passed = (await child.exited) === 0
  console.log(`${passed ? '✓' : '✗'} ${name}`)
  return { passed: passed ? 1 : 0, failures: passed ? [] : [`${name}\n${output}${errors}`.trimEnd()], skipped: 0 }
}

async function runTests(args: readonly string[]): Promise<Outcome> {
  const { stop, ...stores } = await startStores()
  try {
    const report = join(stores.folder, 'junit.xml')
    const reporter = ['--reporter=junit', `--reporter-outfile=${report}`]
    const child = spawn(['test', ...flags, ...reporter, ...args], { TEST_STORES: JSON.stringify(stores) })
    const [, named] = await Promise.all([follow(child.stdout), follow(child.stderr)])
    return readReport(await readFile(report, 'utf8').catch(() => ''), named, await child.exited)
  } finally {
    await stop()
  }
}

function failedToRun(error: unknown): Outcome {
  return { passed: 0, failures: [`the tests did not run\n${Bun.inspect(error)}`], skipped: 0 }
}

/** Prints the output of `bun test` as it comes, and collects the failures it names. */
async function follow(stream: ReadableStream<Uint8Array>): Promise<string[]> {
  const found: string[] = []
  const decoder = new TextDecoder()
  let file = ''
  let partial = ''
  let repeats = false
  for await (const chunk of stream) {
    process.stdout.write(chunk)
    const lines = (partial + decoder.decode(chunk, { stream: true })).split('\n')
    partial = lines.pop() ?? ''
    for (const line of lines.map(Bun.stripANSI)) {
      // After a long run bun names the failures again.
      if (/^\d+ tests? (?:failed|skipped):$/.test(line)) repeats = true
      if (repeats) continue
      file = /^(?:::group::)?(\S+\.test\.ts):$/.exec(line)?.[1] ?? file
      const failed = /^(?:\(fail\)|✗) (.+?)(?: \[[\d.]+m?s\])?$/.exec(line)?.[1]
      if (failed !== undefined) found.push(`${file}: ${failed}`)
      // The report of junit has no line for a file that could not be loaded.
      if (line.startsWith('# Unhandled error')) found.push(`${file}: an error outside of any test`)
    }
  }
  return found
}

function readReport(xml: string, named: readonly string[], exitCode: number): Outcome {
  const attributes = /<testsuites [^>]*>/.exec(xml)?.[0] ?? ''
  const count = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(attributes)?.[1] ?? 0)
  const passed = count('tests') - count('failures') - count('skipped')
  const failures = exitCode === 0 ? [] : [...named]
  while (failures.length < count('failures')) failures.push('a test that bun did not name')
  if (failures.length === 0 && exitCode !== 0) failures.push(`bun test ended with code ${exitCode}`)
  if (failures.length === 0 && passed === 0) failures.push('no test ran')
  return { passed, failures, skipped: count('skipped') }
}

function spawn(args: readonly string[], variables: Readonly<Record<string, string>> = {}) {
  const colour = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}
  return Bun.spawn([process.execPath, ...args], {
    cwd: root,
    env: { ...process.env, ...colour, ...variables },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
}
