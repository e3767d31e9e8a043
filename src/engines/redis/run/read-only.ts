import { ApiError } from '../../../errors.ts'
import { assertMayWrite, type Call } from '../../engine.ts'
import type { Target } from '../../target.ts'
import { classify } from './command-policy.ts'
import { type CommandTable, readCommandTable } from './command-table.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Commands } from '../commands.ts'
import { replyCode } from '../errors.ts'
import { createReasons } from './reasons.ts'

/** The server's own metadata of its commands; asked for where it matters, and again after ten minutes. */
export type AskCommandTable = (call: Call) => Promise<CommandTable>

// Modules come and go while a server runs.
const maxAgeMs = 600_000

export function rememberCommandTable(commands: Commands): AskCommandTable {
  let asked: Promise<CommandTable> | undefined
  let askedAt = Number.NEGATIVE_INFINITY
  return (call) => {
    // Another caller's time may have run out; ours has not.
    if (asked && performance.now() - askedAt < maxAgeMs) return asked.catch(() => ask(call))
    const asking = ask(call)
    asked = asking
    askedAt = performance.now()
    asking.catch(() => {
      if (asked === asking) asked = undefined
    })
    return asking
  }

  async function ask(call: Call): Promise<CommandTable> {
    try {
      const [reply] = await commands.send(call, 'reads', ['command'])
      return readCommandTable(reply)
    } catch (error) {
      if (!(error instanceof ApiError) || replyCode(error.cause) !== 'NOPERM') throw error
      const message = "The Redis user's ACL does not allow COMMAND, which tells what a command does."
      throw new ApiError('DB_QUERY_ERROR', message, { cause: error, details: error.details })
    }
  }
}

/**
 * Commands that refuse with `DB_READ_ONLY`, by the server's metadata and before anything is sent, what would write for a call or a database
 * that may only read. Where the metadata can not be had, all that is not said to read is refused. They know what of the server's words may
 * be repeated.
 */
export function refusingWrites(commands: Commands, target: Target, table: AskCommandTable): Commands {
  const refused = (call: Call) => call.readOnly === true || target.config['readOnly'] === true
  return {
    reasonOf: createReasons(target),
    send(call, effect, ...batch) {
      if (effect === 'reads' || !refused(call)) return commands.send(call, effect, ...batch)
      return refuse(call, batch).then(() => commands.send(call, effect, ...batch))
    },
    each(call, effect, ...batch) {
      if (effect === 'reads' || !refused(call)) return commands.each(call, effect, ...batch)
      return refuse(call, batch).then(() => commands.each(call, effect, ...batch))
    },
  }

  async function refuse(call: Call, batch: readonly BatchCommand[]): Promise<void> {
    const known = await table(call).catch(() => undefined)
    // Of nothing: whoever asks may write later, and is told so before anything is sent.
    if (known === undefined || batch.length === 0 || batch.some((command) => mayWrite(known, command)))
      assertMayWrite(target, call)
  }
}

// What is no command of the table, or runs for nobody, is not known to read.
function mayWrite(table: CommandTable, command: BatchCommand): boolean {
  try {
    return classify(table, command).writes
  } catch {
    return true
  }
}
