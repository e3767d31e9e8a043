import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Client } from '#test/e2e/server.ts'
import { isEndless, listOperations, type Schema, takesLines } from './operations.ts'
import { asServed, configuration, type KnownValues } from './schemathesis-input.ts'
import type { Schemathesis } from './schemathesis.ts'

const checks = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
  'response_headers_conformance',
  'negative_data_rejection',
  'missing_required_header',
  'ignored_auth',
  'use_after_free',
  'ensure_resource_availability',
]
const secondsPerRequest = 15

export interface RunOptions {
  readonly client: Client
  readonly known: readonly KnownValues[]
  /** An empty folder for its configuration and report. */
  readonly folder: string
  /** Of generated requests to an operation, beside its examples and the boundaries of its schema. */
  readonly examples: number
}

export interface RunReport {
  /** What it printed, with a curl line for each failure. */
  readonly text: string
  readonly exitCode: number
  /** `GET /path answered 500: not_a_server_error`, once each. */
  readonly failures: readonly string[]
  /** How often each status was answered, by `GET /path`. */
  readonly statuses: ReadonlyMap<string, ReadonlyMap<number, number>>
}

/** Asks the server everything that schemathesis makes of its own document: examples, boundaries, generated and then linked requests. */
export async function runSchemathesis(
  { command, env }: Schemathesis,
  { client, known, folder, examples }: RunOptions,
): Promise<RunReport> {
  const file = (name: string) => join(folder, name)
  const document = (await (await fetch(`${client.url}/openapi.json`)).json()) as Schema
  await writeFile(file('openapi.json'), JSON.stringify(asServed(document, known, unasked(document))))
  await writeFile(file('schemathesis.toml'), configuration(client.key, known))
  const options = {
    url: client.url,
    checks: checks.join(','),
    'max-examples': examples,
    seed: 1,
    workers: 1,
    'request-timeout': secondsPerRequest,
    'generation-database': 'none',
    'suppress-health-check': 'all',
    'report-ndjson-path': file('report.ndjson'),
  }
  const flags = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  const child = Bun.spawn(
    [
      ...command,
      '--config-file',
      file('schemathesis.toml'),
      'run',
      file('openapi.json'),
      '--continue-on-failure',
      ...flags,
    ],
    {
      env: { PATH: process.env['PATH'] ?? '', HOME: folder, ...env },
      cwd: folder,
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'inherit',
    },
  )
  const text = await child.stdout.text()
  const exitCode = await child.exited
  const report = await readFile(file('report.ndjson'), 'utf8').catch(() => '')
  return { text, exitCode, ...readReport(report) }
}

/** Ids of the operations that schemathesis is not told of; `conformance.test.ts` asks them. */
export function unasked(document: Schema): ReadonlySet<string> {
  const some = listOperations(document).filter((operation) => isEndless(operation) || takesLines(operation))
  return new Set(some.map(({ id }) => id))
}

interface Case {
  readonly method: string
  readonly path: string
  readonly body?: { readonly timeoutMs?: number } | null
}

interface Scenario {
  readonly recorder: {
    readonly cases?: Readonly<Record<string, { readonly value: Case }>>
    readonly checks?: Readonly<Record<string, readonly { readonly name: string; readonly status: string }[]>>
    readonly interactions?: Readonly<Record<string, { readonly response: { readonly status_code: number } | null }>>
  }
}

function readReport(text: string): Pick<RunReport, 'failures' | 'statuses'> {
  const failures = new Set<string>()
  const statuses = new Map<string, Map<number, number>>()
  for (const line of text.split('\n').filter(Boolean)) {
    const { ScenarioFinished: scenario } = JSON.parse(line) as { readonly ScenarioFinished?: Scenario }
    if (scenario === undefined) continue
    const { cases = {}, checks: checked = {}, interactions = {} } = scenario.recorder
    for (const [id, { value }] of Object.entries(cases)) {
      const operation = `${value.method} ${value.path}`
      const status = interactions[id]?.response?.status_code
      const counts = statuses.get(operation) ?? new Map<number, number>()
      if (status !== undefined) statuses.set(operation, counts.set(status, (counts.get(status) ?? 0) + 1))
      // A request may allow itself less time than a busy machine needs.
      if (status === 504 && value.body?.timeoutMs === undefined) failures.add(`${operation} answered 504`)
      for (const check of checked[id] ?? [])
        if (check.status !== 'success') failures.add(`${operation} answered ${status}: ${check.name}`)
    }
  }
  return { failures: [...failures], statuses }
}
