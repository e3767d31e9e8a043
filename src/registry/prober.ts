import { callWithin, type Engine, type Limits } from '../engines/engine.ts'
import { probe, type ProbeReport } from '../engines/probe.ts'
import type { TargetDescription } from '../engines/target.ts'
import { type ErrorCode, withOptions } from '../errors.ts'
import { sameTarget } from './connection-input.ts'
import type { Targets } from './targets.ts'

/** Answers the warnings of a target that connects; throws where it does not. */
export type Prove = (engine: Engine, target: TargetDescription) => Promise<readonly string[]>

/** Connection tests within this server's limits and dial policy. */
export interface Prober {
  /** Whatever the network says is in the report. */
  probe(engine: Engine, target: TargetDescription, signal: AbortSignal): Promise<ProbeReport>
  /** Tests that must succeed: a failure is the caller's, so it is thrown as a 400. A target is tested once, however often a lost race repeats the change. */
  proving(signal: AbortSignal): Prove
}

export interface ProberOptions {
  readonly targets: Targets
  readonly limitsOf: (kind: string) => Limits
  readonly probeTimeoutMs: number
}

// What a wrong host, port or credential looks like; the rest keeps the status it has elsewhere.
const callersFault: ReadonlySet<ErrorCode> = new Set([
  'DB_CONNECTION_FAILED',
  'DB_TIMEOUT',
  'DB_INVALID_CREDENTIALS',
  'DB_CREDENTIALS_UNREADABLE',
])

export function createProber({ targets, limitsOf, probeTimeoutMs }: ProberOptions): Prober {
  return { probe: probeTarget, proving }

  async function probeTarget(engine: Engine, target: TargetDescription, signal: AbortSignal): Promise<ProbeReport> {
    using call = callWithin(probeTimeoutMs, signal)
    const limits = { ...limitsOf(engine.kind), maxConnections: 1 }
    return await probe(engine, targets.bind(target), limits, call)
  }

  function proving(signal: AbortSignal): Prove {
    let proof: { readonly target: TargetDescription; readonly warnings: readonly string[] } | undefined
    return async (engine, target) => {
      if (proof === undefined || !sameTarget(proof.target, target)) {
        const { error, stages, warnings } = await probeTarget(engine, target, signal)
        if (error)
          throw callersFault.has(error.code)
            ? withOptions(error, { status: 400, details: { ...(error.details as object), stages } })
            : error
        proof = { target, warnings }
      }
      return proof.warnings
    }
  }
}
