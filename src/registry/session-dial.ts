import { callWithin, type Engine, type Limits, type Session } from '../engines/engine.ts'
import type { DatabaseRow } from './database.ts'
import type { LiveSession } from './live-session.ts'
import type { Slots } from './slots.ts'
import type { Targets } from './targets.ts'

export interface DialOptions {
  readonly targets: Targets
  readonly limitsOf: (kind: string) => Limits
}

/** Connects a session once there is a slot for it; `makeRoom` is told when it has to wait for one. The slot is the session's until freed. */
export async function dial(
  engine: Engine,
  row: DatabaseRow,
  entry: LiveSession,
  { targets, limitsOf }: DialOptions,
  slots: Slots,
  makeRoom: () => void,
): Promise<Session> {
  const limits = limitsOf(engine.kind)
  const target = targets.bind(await targets.describe(engine, row))
  using waiting = callWithin(limits.waitTimeoutMs, entry.abort.signal)
  await slots.take(waiting, makeRoom)
  entry.hasSlot = true
  try {
    using connecting = callWithin(limits.connectTimeoutMs, entry.abort.signal)
    return await engine.connect(target, limits, connecting)
  } catch (error) {
    entry.hasSlot = false
    slots.give()
    throw error
  }
}
