import type { Call } from '../../engine.ts'
import type { Lanes } from '../commands.ts'
import { notRedis } from '../errors.ts'

/** A connection to the server, its fields as CLIENT LIST names them and as text (https://redis.io/docs/latest/commands/client-list/). */
export type ClientFields = Readonly<Record<string, string>>

/** The connections to the server, of all databases and users. */
export interface Clients {
  clients(call: Call): Promise<readonly ClientFields[]>
}

export function createClients({ alone }: Lanes): Clients {
  return {
    async clients(call) {
      const [reply] = await alone(call, (commands) => commands.send(call, 'reads', ['client', 'list']))
      if (!(reply instanceof Buffer)) throw notRedis()
      return parseClients(reply.toString('utf8'))
    },
  }
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
