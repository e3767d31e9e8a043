import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { deletePostgresVariables } from '#test/support/environment.ts'
import { startStores } from '#test/support/stores.ts'

/**
 * The whole gate: format, types, lint, and every test on real stores, in two halves beside each other. Arguments go to `bun test`. The last line is
 * `N passed, N failed`, with `, N skipped` where something was. Many tests measure time on a machine that may be busy: where at most
 * three files failed, they are run once more, alone, and what passes then is named as such.
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
const mostRunAgain = 3
const timed = /^test\/(faults|registry|e2e|access)\//

deletePostgresVariables()
const { passed, failures, skipped } = sum(
  await Promise.all([runTests(process.argv.slice(2)).catch(failedToRun), ...Object.entries(gates).map(runGate)]),
)

if (failures.length > 0) console.log(`\nFailed:\n${failures.map((failure) => `  ✗ ${failure}`).join('\n')}`)
const counts = [`${passed} passed`, `${failures.length} failed`]
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
  await using stores = new AsyncDisposableStack()
  const places: Place[] = []
  // One after the other: the first installs what is missing.
  for (const given of args.length > 0 ? [args] : await halves()) {
    const { stop, ...running } = await startStores()
    stores.defer(stop)
    places.push({ running, given, isPrinted: places.length === 0 })
  }
  const outcomes = await Promise.all(places.map(runIn))
  const first = sum(outcomes)
  const files = new Set(first.failures.map((failure) => /^\S+\.test\.ts(?=: )/.exec(failure)?.[0]))
  // Without a report bun itself has ended early, and nobody knows what did not run.
  const known = outcomes.every(({ passed }) => passed > 0) && !files.has(undefined)
  const [place] = places
  if (!known || place === undefined || files.size === 0 || files.size > mostRunAgain) return first
  const again = await runIn({ ...place, given: [...files].map((file) => `./${file}`) })
  const recovered = first.failures.filter((failure) => !again.failures.includes(failure))
  console.log(`\nPassed only when run again, alone:\n${recovered.map((name) => `  ! ${name}`).join('\n')}`)
  return { ...first, passed: first.passed + recovered.length, failures: again.failures }
}

/** Where tests run, and which. */
interface Place {
  readonly running: Omit<Awaited<ReturnType<typeof startStores>>, 'stop'>
  readonly given: readonly string[]
  /** Whether its output is seen as it comes, and not at its end. */
  readonly isPrinted: boolean
}

/** The tests that mostly wait and measure, and all others, which run beside them with what processor they leave. */
async function halves(): Promise<readonly (readonly string[])[]> {
  const files = await Array.fromAsync(new Bun.Glob('test/**/*.test.ts').scan({ cwd: root }))
  const [waiting, others] = [files.filter((file) => timed.test(file)), files.filter((file) => !timed.test(file))]
  return [waiting, others].map((half) => half.toSorted().map((file) => `./${file}`))
}

async function runIn({ running, given, isPrinted }: Place): Promise<Outcome> {
  const report = join(running.folder, 'junit.xml')
  const reporter = ['--reporter=junit', `--reporter-outfile=${report}`]
  const command = ['test', ...flags, ...reporter, ...given]
  const child = spawn(command, { TEST_STORES: JSON.stringify(running) }, isPrinted ? [] : ['nice', '-n', '10'])
  const output: Uint8Array[] = []
  const print = (chunk: Uint8Array) => void (isPrinted ? process.stdout.write(chunk) : output.push(chunk))
  const [, named] = await Promise.all([follow(child.stdout, print), follow(child.stderr, print)])
  const code = await child.exited
  for (const chunk of output) process.stdout.write(chunk)
  return readReport(await readFile(report, 'utf8').catch(() => ''), named, code)
}

function sum(outcomes: readonly Outcome[]): Outcome {
  return {
    passed: outcomes.reduce((count, { passed }) => count + passed, 0),
    failures: outcomes.flatMap(({ failures }) => failures),
    skipped: outcomes.reduce((count, { skipped }) => count + skipped, 0),
  }
}

function failedToRun(error: unknown): Outcome {
  return { passed: 0, failures: [`the tests did not run\n${Bun.inspect(error)}`], skipped: 0 }
}

/** Collects the failures that the output of `bun test` names. */
async function follow(stream: ReadableStream<Uint8Array>, print: (chunk: Uint8Array) => void): Promise<string[]> {
  const found: string[] = []
  const decoder = new TextDecoder()
  let file = ''
  let partial = ''
  let repeats = false
  for await (const chunk of stream) {
    print(chunk)
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

function spawn(
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
  before: readonly string[] = [],
) {
  const colour = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}
  return Bun.spawn([...before, process.execPath, ...args], {
    cwd: root,
    env: { ...process.env, ...colour, ...variables },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
}
