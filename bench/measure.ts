import type { RunLoad, Sample, Target } from './wrk.ts'

/** A load by name, and the one it is compared with. */
export interface Load extends Target {
  readonly name: string
  /** What every answer holds, so that a fast wrong answer is no success. */
  readonly contains?: string
  /** Runs right beside this one in every round. */
  readonly against?: Load
  /** After each run. */
  readonly after?: () => void
}

/** Smallest, median and largest of a few. */
export interface Spread {
  readonly min: number
  readonly median: number
  readonly max: number
}

export interface Measurement {
  readonly name: string
  readonly requestsPerSecond: Spread
  readonly p50: number
  readonly p95: number
  readonly p99: number
  /** Requests per second over those of `against`, round by round. */
  readonly ratio: Spread | null
  readonly baseline: Spread | null
  /** Why it is no measurement: an answer that was not as it should be. */
  readonly failure: string | null
}

export interface Rounds {
  readonly rounds: number
  readonly seconds: number
  readonly warmUpSeconds: number
}

interface Running {
  readonly load: Load
  readonly samples: Sample[]
  readonly baselines: Sample[]
  failure: string | null
}

const settleMs = 250

/** Runs the loads one after another, again and again: what the machine does meanwhile meets all of them. */
export async function measure(loads: readonly Load[], run: RunLoad, plan: Rounds): Promise<readonly Measurement[]> {
  const all: Running[] = []
  const warm = new Set<Load>()
  for (const load of loads) {
    const failure = await tryOnce(load)
    const { against } = load
    if (failure === null) await run(load, plan.warmUpSeconds)
    if (against !== undefined && !warm.has(against)) await run(against, plan.warmUpSeconds)
    if (against !== undefined) warm.add(against)
    all.push({ load, samples: [], baselines: [], failure })
  }
  for (let round = 0; round < plan.rounds; round++) {
    if (plan.rounds > 1) console.error(`round ${round + 1} of ${plan.rounds}`)
    for (const running of all) if (running.failure === null) await runOnce(running, run, plan.seconds, round)
  }
  return all.map(summarise)
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (index: number) => sorted[index] ?? Number.NaN
  const middle = (sorted.length - 1) / 2
  return { min: at(0), median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2, max: at(sorted.length - 1) }
}

async function tryOnce({ origin, headers, requests, contains = '' }: Load): Promise<string | null> {
  const [first] = requests
  if (first === undefined) return 'it has no request'
  const { method, path, body } = first
  const answer = await fetch(`${origin}${path}`, {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  if (answer.ok && text.includes(contains)) return null
  return `${method} ${path} answered ${answer.status}: ${text.slice(0, 300)}`
}

async function runOnce(running: Running, run: RunLoad, seconds: number, round: number): Promise<void> {
  const { load, samples, baselines } = running
  const once = async (target: Load, kept: Sample[]) => {
    const sample = await run(target, seconds)
    // wrk leaves requests behind, and the next one's processor is not to be spent on them.
    await Bun.sleep(settleMs)
    target.after?.()
    kept.push(sample)
    const { refused, broken } = sample
    if (refused + broken > 0) running.failure = `${refused} answers of 400 and above, ${broken} broken requests`
  }
  const ours = () => once(load, samples)
  const { against } = load
  if (against === undefined) return ours()
  // In turn, so that a machine that grows slower is unfair to both alike.
  if (round % 2 === 0) {
    await once(against, baselines)
    await ours()
  } else {
    await ours()
    await once(against, baselines)
  }
}

function summarise({ load, samples, baselines, failure }: Running): Measurement {
  const median = (figure: (sample: Sample) => number) => spreadOf(samples.map(figure)).median
  const rates = samples.map(({ requestsPerSecond }) => requestsPerSecond)
  const baseRates = baselines.map(({ requestsPerSecond }) => requestsPerSecond)
  const ratios = rates.map((rate, index) => rate / (baseRates[index] ?? Number.NaN))
  return {
    name: load.name,
    requestsPerSecond: spreadOf(rates),
    p50: median(({ p50 }) => p50),
    p95: median(({ p95 }) => p95),
    p99: median(({ p99 }) => p99),
    ratio: baselines.length === 0 ? null : spreadOf(ratios),
    baseline: baselines.length === 0 ? null : spreadOf(baseRates),
    failure,
  }
}
