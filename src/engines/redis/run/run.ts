import { ApiError, withOptions } from '../../../errors.ts'
import { timedOut } from '../../dial-errors.ts'
import { type Call, type Limits, remainingMs } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import { assertMayRun, type Caller, type Classified } from './command-policy.ts'
import type { CommandTable } from './command-table.ts'
import type { Commands, Lanes, Outcome } from '../commands.ts'
import { replyTooLarge, writeTimedOut, writeTooLarge } from '../errors.ts'
import { foreseenTooLarge } from './foreseen-size.ts'
import { explained } from './reasons.ts'
import { isBrief, repliesFit } from './reply-size.ts'

/** A caller's own command, its name first in any case. */
export type GivenCommand = readonly (string | Buffer)[]

/** Commands that their caller may run, as they are to be sent. */
export interface Allowed {
  readonly batch: readonly BatchCommand[]
  /** In lower case, of each, its sub-command after a space. */
  readonly names: readonly string[]
  readonly writes: boolean
  /** How many of them take as long as what their keys hold is large. */
  readonly walks: number
}

/** Commands as callers give them. */
export interface Runner {
  /**
   * In their order, each with its error in place; `allowCommands` refused before that what must not run. What may be long goes in parts, so
   * that others get their turn and no more is begun when the time is over or the replies are too large.
   */
  run(commands: Allowed, call: Call): Promise<readonly Outcome[]>
}

/** Throws unless the caller may run every one: as `assertMayRun` does, with the `index` of the command in `details`. */
export function allowCommands(table: CommandTable, commands: readonly GivenCommand[], caller: Caller): Allowed {
  let writes = false
  let walks = 0
  const names: string[] = []
  const batch = commands.map((command, index): BatchCommand => {
    const found = allow(table, command, caller, index)
    writes ||= found.writes
    names.push(found.name)
    const [first = '', ...args] = command
    // What is sent is what was judged.
    const name = first.toString('latin1' as never).toLowerCase()
    if (!found.isFast && !isBrief(name)) walks += 1
    return [name, ...args]
  })
  return { batch, names, writes, walks }
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

const maxPart = 64
const longMs = 100

export function createRunner({ shared, alone }: Lanes, limits: Limits): Runner {
  const { maxResponseBytes } = limits
  // A value of small parts is several times as long as a reply, and may grow before it is read.
  const maxBytes = maxResponseBytes / 64
  return {
    async run({ batch, names, writes }, call) {
      const effect = writes ? 'writes' : 'reads'
      const outcomes = (await repliesFit(shared, batch, maxBytes, call))
        ? await shared.each(call, effect, ...batch)
        : await alone(call, (commands) => onOwn(commands, batch, writes, call))
      return outcomes.map((outcome, index) =>
        'error' in outcome ? { error: explained(shared, outcome.error, names[index] ?? '') } : outcome,
      )
    },
  }

  async function onOwn(commands: Commands, batch: readonly BatchCommand[], writes: boolean, call: Call) {
    // What is written before may be what makes it short.
    const tooLarge = writes ? new Set() : await foreseenTooLarge(commands, batch, limits, call)
    const ran = await inParts(
      commands,
      batch.filter((command) => !tooLarge.has(command)),
      writes,
      call,
    )
    let next = 0
    return batch.map((command) => (tooLarge.has(command) ? { error: replyTooLarge() } : (ran[next++] as Outcome)))
  }

  async function inParts(commands: Commands, batch: readonly BatchCommand[], writes: boolean, call: Call) {
    const outcomes: Outcome[] = []
    let bytes = 0
    let fastest = Number.POSITIVE_INFINITY
    for (let size = 1; outcomes.length < batch.length;) {
      const isOver = call.signal.aborted || remainingMs(call) === 0
      // Some have run.
      if (isOver && writes && outcomes.length > 0) throw writeTimedOut(call.signal.reason)
      if (isOver) throw timedOut('Redis did not answer all of it in time.', call.signal.reason)
      const began = performance.now()
      const part = batch.slice(outcomes.length, outcomes.length + size)
      const ended = await commands.each(call, writes ? 'writes' : 'reads', ...part)
      const took = performance.now() - began
      for (const outcome of ended) bytes += 'reply' in outcome ? bytesIn(outcome.reply) : 0
      if (bytes > maxResponseBytes) throw writes ? writeTooLarge(undefined) : replyTooLarge()
      outcomes.push(...ended)
      // The way there and back is in each of them.
      fastest = Math.min(fastest, took)
      size = took - fastest > longMs ? 1 : Math.min(size * 2, maxPart)
    }
    return outcomes
  }
}

function bytesIn(reply: Reply): number {
  if (reply instanceof Buffer) return reply.length
  return Array.isArray(reply) ? (reply as readonly Reply[]).reduce((sum: number, item) => sum + bytesIn(item), 0) : 0
}
