import type { Measurement, Spread } from './measure.ts'
import type { Operation } from './operations.ts'

/** An operation in the result file; latencies in milliseconds, each the median of the rounds. */
export interface OperationResult {
  readonly name: string
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly perSecond: number
  /** The slowest and the fastest round. */
  readonly range: readonly [number, number]
  readonly target: string | null
  readonly met: boolean | null
  readonly failure?: string
}

/** Throughput of an operation over that of a bare server that ran beside it: the median of the rounds. */
export interface RatioResult {
  readonly name: string
  readonly ofHono: number
  readonly range: readonly [number, number]
  readonly ofBun: number
  readonly reached: 'goal' | 'floor' | 'neither' | null
}

export function toOperationResult({ name, target }: Operation, seen: Measurement): OperationResult {
  const { requestsPerSecond: rate, p50, p95, p99, failure } = seen
  const met =
    target === undefined ? null : failure === null && p99 < target.p99Ms && rate.median > target.requestsPerSecond
  return {
    name,
    p50: round(p50, 2),
    p95: round(p95, 2),
    p99: round(p99, 2),
    perSecond: round(rate.median),
    range: rangeOf(rate, 0),
    target: target === undefined ? null : `p99 < ${target.p99Ms} ms, > ${target.requestsPerSecond}/s`,
    met,
    ...(failure === null ? {} : { failure }),
  }
}

export function toRatioResult(
  { name, share = {} }: Operation,
  seen: Measurement,
  bun: Measurement,
): RatioResult | null {
  if (seen.ratio === null || seen.failure !== null) return null
  const { floor, goal } = share
  const ofHono = round(seen.ratio.median, 3)
  const unknown = floor === undefined || goal === undefined
  return {
    name,
    ofHono,
    range: rangeOf(seen.ratio, 3),
    ofBun: round(seen.requestsPerSecond.median / bun.requestsPerSecond.median, 3),
    reached: unknown ? null : ofHono >= goal ? 'goal' : ofHono >= floor ? 'floor' : 'neither',
  }
}

export function printOperations(
  operations: readonly Operation[],
  results: readonly OperationResult[],
  connections: number,
): void {
  console.log(
    `\nAt ${connections} connections; met = p99 below the latency and throughput above the rate of the target\n`,
  )
  const rows = results.map((result, index) => [
    operations[index]?.title ?? result.name,
    ...[result.p50, result.p95, result.p99].map((ms) => `${ms.toFixed(1)} ms`),
    String(result.perSecond),
    result.target ?? '',
    result.failure === undefined ? yesOrNo(result.met) : `FAILED: ${result.failure}`,
  ])
  printTable(['operation', 'p50', 'p95', 'p99', 'req/s', 'target', 'met'], rows)
}

export function printRatios(operations: readonly Operation[], results: readonly RatioResult[]): void {
  console.log('\nThroughput as a share of a hello server that ran beside it\n')
  const shares = new Map(operations.map(({ name, share }) => [name, share]))
  const rows = results.map(({ name, ofHono, range, ofBun, reached }) => [
    name,
    ofHono.toFixed(2),
    range.map((value) => value.toFixed(2)).join(' to '),
    ofBun.toFixed(2),
    shares.get(name)?.floor?.toFixed(1) ?? '',
    shares.get(name)?.goal?.toFixed(1) ?? '',
    reached ?? '',
  ])
  printTable(['operation', 'of Hono', 'rounds', 'of Bun.serve', 'floor', 'goal', 'reached'], rows)
}

function yesOrNo(met: boolean | null): string {
  return met === null ? '' : met ? 'yes' : 'no'
}

/** A Markdown table, so that docs/performance.md takes it as it is. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)))
  for (const row of [head, widths.map((width) => '-'.repeat(width)), ...rows])
    console.log(`| ${widths.map((width, column) => (row[column] ?? '').padEnd(width)).join(' | ')} |`)
}

export function rangeOf({ min, max }: Spread, digits: number): readonly [number, number] {
  return [round(min, digits), round(max, digits)]
}

/** NaN, which a failed operation has, becomes 0: JSON knows none. */
export function round(value: number, digits = 0): number {
  return Number.isFinite(value) ? Number(value.toFixed(digits)) : 0
}
