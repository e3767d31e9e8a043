import { type Spread, spreadOf } from './measure.ts'
import { printTable, rangeOf, round } from './report.ts'
import { startBunApi } from './server.ts'
import type { Stage } from './stage.ts'

/** Milliseconds from the start of the process to its first 200, and MiB of resident memory a moment later. */
export interface StartResult {
  readonly samples: number
  readonly firstAnswerMs: number
  readonly firstAnswerRange: readonly [number, number]
  readonly idleRssMiB: number | null
  readonly idleRssRange: readonly [number, number] | null
}

const settleMs = 2_000
const targets = { firstAnswerMs: 1_000, idleRssMiB: 120 }

/** Starts the server a few times, one after another, on a registry that is migrated and has ten databases. */
export async function measureStart({ registry, keys }: Stage, folder: string, samples: number): Promise<StartResult> {
  const answers: number[] = []
  const sizes: number[] = []
  for (let sample = 0; sample < samples; sample++) {
    await using started = await startBunApi(registry.url, keys, folder)
    answers.push(started.startMs)
    await Bun.sleep(settleMs)
    const rss = await started.rss()
    if (rss !== null) sizes.push(rss / 2 ** 20)
  }
  const rss: Spread | null = sizes.length === 0 ? null : spreadOf(sizes)
  const first = spreadOf(answers)
  return {
    samples,
    firstAnswerMs: round(first.median),
    firstAnswerRange: rangeOf(first, 0),
    idleRssMiB: rss === null ? null : round(rss.median, 1),
    idleRssRange: rss === null ? null : rangeOf(rss, 1),
  }
}

export function printStart(result: StartResult): void {
  const { firstAnswerMs, firstAnswerRange, idleRssMiB, idleRssRange } = result
  console.log(`\nA start on a migrated external registry, ${result.samples} times\n`)
  const met = (value: number, below: number) => (value < below ? 'yes' : 'no')
  const rows = [
    [
      'start to first answer',
      `${firstAnswerMs} ms`,
      firstAnswerRange.join(' to '),
      `< ${targets.firstAnswerMs} ms`,
      met(firstAnswerMs, targets.firstAnswerMs),
    ],
    ...(idleRssMiB === null || idleRssRange === null
      ? []
      : [
          [
            'idle resident memory',
            `${idleRssMiB} MiB`,
            idleRssRange.join(' to '),
            `< ${targets.idleRssMiB} MiB`,
            met(idleRssMiB, targets.idleRssMiB),
          ],
        ]),
  ]
  printTable(['figure', 'median', 'range', 'target', 'met'], rows)
}
