import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Lanes } from '../commands.ts'
import { notRedis } from '../errors.ts'
import { type Encoding, fromBytes, type RedisValue } from '../values.ts'

/** A command that took long. Redis itself cuts long arguments off and leaves passwords out. */
export interface SlowCommand {
  readonly id: number
  /** In seconds since 1970. */
  readonly timestamp: number
  readonly duration_us: number
  readonly command: readonly RedisValue[]
  /** Address and port; absent before Redis 4. */
  readonly client?: string
  readonly client_name?: string
}

/** Commands that took longer than `slowlog-log-slower-than`, of all databases of the server. */
export interface Slowlog {
  /** The newest `count`, the newest first, and how many are kept. */
  slowest(count: number, encoding: Encoding, call: Call): Promise<{ entries: readonly SlowCommand[]; kept: number }>
  /** Forgets all of them. */
  resetSlowest(call: Call): Promise<void>
}

export function createSlowlog({ shared, alone }: Lanes): Slowlog {
  return {
    async slowest(count, encoding, call) {
      const [entries, kept] = await alone(call, (commands) =>
        commands.send(call, 'reads', ['slowlog', 'get', String(count)], ['slowlog', 'len']),
      )
      if (!Array.isArray(entries)) throw notRedis()
      return { entries: (entries as readonly Reply[]).map((entry) => slowCommand(entry, encoding)), kept: Number(kept) }
    },
    async resetSlowest(call) {
      await shared.send(call, 'writes', ['slowlog', 'reset'])
    },
  }
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
