import type { Call } from '../../engine.ts'
import { notRedis, replyTooLarge } from '../errors.ts'
import { type Everywhere, inTurn } from './in-turn.ts'

/**
 * A connection to a server, its fields as CLIENT LIST names them and as text (https://redis.io/docs/latest/commands/client-list/), and on a
 * cluster the primary as `node`.
 */
export type ClientFields = Readonly<Record<string, string>>

/** The connections to all servers, of all databases and users. Throws `RESULT_TOO_LARGE` where their lists are above the cap together. */
export async function clientsOf(all: Everywhere, call: Call): Promise<readonly ClientFields[]> {
  let left = all.limits.maxResponseBytes
  const lists = await inTurn(all, call, async (commands, of) => {
    const [reply] = await commands.send(call, 'reads', ['client', 'list'])
    if (!(reply instanceof Buffer)) throw notRedis()
    left -= reply.length
    if (left < 0) throw replyTooLarge()
    return parseClients(reply.toString('utf8')).map((fields) => ({ ...of, ...fields }))
  })
  return lists.flat()
}

/** One line a connection, `name=value` parted by spaces; a value may hold `=`, and the path of a socket a space. */
export function parseClients(text: string): readonly ClientFields[] {
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.map((line) => Object.fromEntries(line.split(/ (?=[a-z][a-z0-9-]*=)/).map(fieldOf)))
}

function fieldOf(part: string): readonly [string, string] {
  const equals = part.indexOf('=')
  return [part.slice(0, equals), part.slice(equals + 1)]
}
