import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import { replyCode } from '../errors.ts'
import { type CommandTable, readCommandTable } from './command-table.ts'
import type { AskCommandTable } from './read-only.ts'
import type { GivenCommand } from './run.ts'

// Of what Redis takes that has not finished a script in time, what runs here at all.
const kills = readCommandTable(
  ['script', 'function'].map((name) => {
    const kill = [`${name}|kill`, 2, ['noscript', 'allow_busy'], 0, 0, 0, ['@scripting']]
    return [name, -2, [], 0, 0, 0, ['@scripting'], [], [], [kill]]
  }),
)

/** The server's metadata of these commands. Where it is busy with a script and does not tell, what ends that script is known all the same. */
export async function commandsKnown(
  ask: AskCommandTable,
  commands: readonly GivenCommand[],
  call: Call,
): Promise<CommandTable> {
  try {
    return await ask(call)
  } catch (error) {
    const isBusy = error instanceof ApiError && replyCode(error.cause) === 'BUSY'
    if (isBusy && commands.every(isKill)) return kills
    throw error
  }
}

function isKill([name, part]: GivenCommand): boolean {
  const known = kills.get(String(name).toLowerCase())
  return known !== undefined && known.subcommands.has(String(part).toLowerCase())
}
