import { ApiError, withOptions } from '../errors.ts'
import { type Call, callWithin, type Engine, type Limits, remainingMs, type ServerInfo, type Stage } from './engine.ts'
import type { Target } from './target.ts'

export interface StageResult {
  readonly name: Stage
  readonly ok: boolean
  readonly ms: number
}

/** What a connection test found; `error` carries the stage that failed. */
export interface ProbeReport {
  readonly ok: boolean
  readonly latency_ms: number
  readonly server: { readonly product: string; readonly version: string } | null
  readonly stages: readonly StageResult[]
  readonly warnings: readonly string[]
  readonly error?: ApiError
}

/** Tests a target over a connection of its own, which is closed again: every stage timed and named, all within the call's deadline. */
export async function probe(engine: Engine, target: Target, limits: Limits, call: Call): Promise<ProbeReport> {
  const started = performance.now()
  const stages: StageResult[] = []
  let current: { name: Stage; since: number } | undefined
  const end = (ok: boolean, now: number) => {
    if (current) stages.push({ name: current.name, ok, ms: round(now - current.since) })
    current = undefined
  }
  const begin = (name: Stage) => {
    if (current?.name === name) return
    const now = performance.now()
    end(true, now)
    // Policy is asked twice for a name: before and after it is resolved.
    const earlier = stages.findIndex((stage) => stage.name === name)
    if (earlier !== -1) stages.splice(earlier, 1)
    current = { name, since: now }
  }
  const report = (server: ServerInfo | null, error?: ApiError): ProbeReport => ({
    ok: error === undefined,
    latency_ms: round(performance.now() - started),
    server: server && { product: server.product, version: server.version },
    stages,
    warnings: [...target.warnings, ...(server?.warnings ?? [])],
    ...(error === undefined ? {} : { error }),
  })
  try {
    using connecting = callWithin(Math.min(limits.connectTimeoutMs, remainingMs(call)), call.signal)
    await using session = await engine.connect(target, limits, { ...connecting, stage: begin })
    begin('database')
    await session.ping(call)
    begin('rights')
    const info = await (session.rights?.(call) ?? session.info(call))
    end(true, performance.now())
    return report(info)
  } catch (thrown) {
    const error =
      thrown instanceof ApiError
        ? thrown
        : new ApiError('INTERNAL', 'Something went wrong in this server.', { cause: thrown })
    const details = error.details as { readonly stage?: Stage } | undefined
    if (details?.stage) begin(details.stage)
    const failed = (current as { name: Stage } | undefined)?.name
    end(false, performance.now())
    return report(null, withOptions(error, { details: { ...details, stage: failed } }))
  }
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10
}
