import { ApiError, withOptions } from '../../../errors.ts'
import type { Call, Limits } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import { assertMayRun, type Caller, type Classified } from './command-policy.ts'
import type { CommandTable } from './command-table.ts'
import type { Lanes, Outcome } from '../commands.ts'
import { repliesFit } from './reply-size.ts'

/** A caller's own command, its name first in any case. */
export type GivenCommand = readonly (string | Buffer)[]

/** Commands that their caller may run, as they are to be sent. */
export interface Allowed {
  readonly batch: readonly BatchCommand[]
  readonly writes: boolean
}

/** Commands as callers give them. */
export interface Runner {
  /** All in one go, each with its error in place; `allowCommands` refused before that what must not run. */
  run(commands: Allowed, call: Call): Promise<readonly Outcome[]>
}

/** Throws unless the caller may run every one: as `assertMayRun` does, with the `index` of the command in `details`. */
export function allowCommands(table: CommandTable, commands: readonly GivenCommand[], caller: Caller): Allowed {
  let writes = false
  const batch = commands.map((command, index): BatchCommand => {
    const found = allow(table, command, caller, index)
    writes ||= found.writes
    const [first = '', ...args] = command
    // What is sent is what was judged.
    return [first.toString('latin1' as never).toLowerCase(), ...args]
  })
  return { batch, writes }
}

function allow(table: CommandTable, command: GivenCommand, caller: Caller, index: number): Classified {
  try {
    return assertMayRun(table, command, caller)
  } catch (error) {
    throw error instanceof ApiError ? withOptions(error, { details: withIndex(error.details, index) }) : error
  }
}

function withIndex(details: unknown, index: number): unknown {
  return Array.isArray(details) ? details.map((detail: object) => ({ ...detail, index })) : { index }
}

export function createRunner({ shared, alone }: Lanes, { maxResponseBytes }: Limits): Runner {
  // A value of small parts is several times as long as a reply, and may grow before it is read.
  const maxBytes = maxResponseBytes / 64
  return {
    async run({ batch, writes }, call) {
      const effect = writes ? 'writes' : 'reads'
      if (await repliesFit(shared, batch, maxBytes, call)) return shared.each(call, effect, ...batch)
      return alone(call, (commands) => commands.each(call, effect, ...batch))
    },
  }
}
