import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import { notRedis } from '../errors.ts'
import { refuseMissing } from '../topology/cluster-primaries.ts'
import { type Encoding, fromBytes, type RedisValue } from '../values.ts'
import { type Everywhere, inTurn, type OfNode } from './in-turn.ts'

/** A command that took long. Redis itself cuts long arguments off and leaves passwords out. */
export interface SlowCommand extends OfNode {
  /** Counted by each server for itself. */
  readonly id: number
  /** In seconds since 1970. */
  readonly timestamp: number
  readonly duration_us: number
  readonly command: readonly RedisValue[]
  /** Address and port; absent before Redis 4. */
  readonly client?: string
  readonly client_name?: string
}

/** The newest `count` of all servers, the newest first, and how many they keep: commands that took longer than `slowlog-log-slower-than`. */
export async function slowest(
  all: Everywhere,
  count: number,
  encoding: Encoding,
  call: Call,
): Promise<{ readonly entries: readonly SlowCommand[]; readonly kept: number }> {
  let newest: readonly SlowCommand[] = []
  const kept = await inTurn(all, call, async (commands, of) => {
    const [entries, length] = await commands.send(call, 'reads', ['slowlog', 'get', String(count)], ['slowlog', 'len'])
    if (!Array.isArray(entries)) throw notRedis()
    const more = (entries as readonly Reply[]).map((entry) => ({ ...slowCommand(entry, encoding), ...of }))
    newest = [...newest, ...more].toSorted((one, other) => other.timestamp - one.timestamp).slice(0, count)
    return Number(length)
  })
  return { entries: newest, kept: kept.reduce((sum, each) => sum + each, 0) }
}

/** Forgets those of all servers. Throws before it begins where one can not be reached. */
export async function resetSlowest(all: Everywhere, call: Call): Promise<void> {
  refuseMissing(all.missing)
  await inTurn(all, call, (commands) => commands.send(call, 'writes', ['slowlog', 'reset']))
}

function slowCommand(reply: Reply, encoding: Encoding): SlowCommand {
  const [id, timestamp, duration, command, client, name] = Array.isArray(reply) ? (reply as readonly Reply[]) : []
  if (!Array.isArray(command)) throw notRedis()
  return {
    id: Number(id),
    timestamp: Number(timestamp),
    duration_us: Number(duration),
    command: (command as readonly Reply[]).map((word) =>
      fromBytes(word instanceof Buffer ? word : Buffer.of(), encoding),
    ),
    ...(client instanceof Buffer ? { client: client.toString() } : {}),
    ...(name instanceof Buffer ? { client_name: name.toString() } : {}),
  }
}
