import type { Call, Limits } from '../../engine.ts'
import { goOn } from '../keyspace/turns.ts'
import type { Commands, ServerCommands } from '../commands.ts'
import { type Missing, ofNode } from '../topology/cluster-primaries.ts'

/** The servers behind a database, each by itself. */
export interface Everywhere {
  readonly servers: readonly ServerCommands[]
  /** Primaries of a cluster that can not be reached now; `servers` has the others. */
  readonly missing: readonly Missing[]
  readonly limits: Limits
}

/** Which primary of a cluster it is of, as `host:port`; absent elsewhere. */
export type OfNode = Pick<ServerCommands, 'node'>

/** Asks one server after the other, so that no more than one answer waits to be read; an error says whose it is. */
export async function inTurn<T>(
  { servers }: Everywhere,
  call: Call,
  ask: (commands: Commands, of: OfNode) => Promise<T>,
): Promise<readonly T[]> {
  const answers: T[] = []
  for (const { commands, ...of } of servers) {
    goOn(call, 'The caller left, or its time ran out, before all servers had answered.')
    const answer = ask(commands, of).catch((error: unknown) => {
      throw ofNode(error, of.node)
    })
    answers.push(await answer)
  }
  return answers
}
