import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Commands, Outcome } from '../commands.ts'
import { notRedis, replyCode } from '../errors.ts'
import { integerOf } from './scan-loop.ts'

/** A command's reply; `undefined` where the user's ACL refuses the command or its key, which have one code. Throws any other error. */
export function permitted(outcome: Outcome | undefined): Reply | undefined {
  if (outcome === undefined) throw notRedis()
  if ('reply' in outcome) return outcome.reply
  if (replyCode(outcome.error.cause) === 'NOPERM') return undefined
  throw outcome.error
}

/** Keys in the database, by DBSIZE; `null` for a user without the right to it. */
export async function sizeOf(commands: Commands, call: Call): Promise<number | null> {
  const [outcome] = await commands.each(call, 'reads', ['dbsize'])
  return sizeIn(outcome)
}

/** The same from what became of a DBSIZE among other commands. */
export function sizeIn(outcome: Outcome | undefined): number | null {
  const reply = permitted(outcome)
  return reply === undefined ? null : integerOf(reply)
}

/** Keys looked at: SCAN's COUNT goes beyond how many there are, where that is known. */
export function scannedOf(scanned: number, size: number | null): number {
  return size === null ? scanned : Math.min(scanned, size)
}
