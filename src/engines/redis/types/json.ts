import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { CommandTable } from '../run/command-table.ts'
import type { Lanes } from '../commands.ts'
import { notRedis } from '../errors.ts'
import { ttlOf } from '../keyspace/keys.ts'
import { requireJson } from './modules.ts'
import { type RedisValue, toArgument } from '../values.ts'

/** What the document's text is, and never what it was parsed to: a number may be beyond what JavaScript holds. */
export interface JsonDocument {
  readonly json: string
  readonly ttl_ms: number | null
}

export interface JsonSet {
  readonly key: RedisValue
  readonly path: string
  readonly json: string
  readonly nx?: boolean | undefined
  readonly xx?: boolean | undefined
}

/** Documents of RedisJSON; where the server's metadata has no such command, each throws `DB_UNSUPPORTED` before anything is sent. */
export interface Json {
  /** The whole document, or a list of what the path matches; throws `NOT_FOUND`, `RESULT_TOO_LARGE`. */
  get(table: CommandTable | undefined, key: RedisValue, path: string | undefined, call: Call): Promise<JsonDocument>
  /** Answers whether it was written: `nx` and `xx` may forbid it. */
  set(table: CommandTable | undefined, request: JsonSet, call: Call): Promise<boolean>
  /** Merges as RFC 7396 has it. */
  merge(table: CommandTable | undefined, request: JsonSet, call: Call): Promise<void>
  /** Answers how many places were deleted. */
  remove(table: CommandTable | undefined, key: RedisValue, path: string, call: Call): Promise<number>
}

export function createJson({ shared, alone }: Lanes): Json {
  return {
    async get(table, name, path, call) {
      requireJson(table, 'json.get')
      const key = toArgument(name)
      const [text, ttl] = await alone(call, (commands) =>
        commands.send(call, 'reads', ['json.get', key, ...(path === undefined ? [] : [path])], ['pttl', key]),
      )
      if (text === null) throw new ApiError('NOT_FOUND', 'There is no such key, or nothing at this path.')
      if (!(text instanceof Buffer)) throw notRedis()
      return { json: text.toString('utf8'), ttl_ms: ttlOf(String(ttl)) }
    },
    async set(table, { key, path, json, nx, xx }, call) {
      requireJson(table, 'json.set')
      const flags = [...(nx ? ['NX'] : []), ...(xx ? ['XX'] : [])]
      const [reply] = await shared.send(call, 'writes', ['json.set', toArgument(key), path, json, ...flags])
      return reply !== null
    },
    async merge(table, { key, path, json }, call) {
      requireJson(table, 'json.merge')
      await shared.send(call, 'writes', ['json.merge', toArgument(key), path, json])
    },
    async remove(table, key, path, call) {
      requireJson(table, 'json.del')
      const [count] = await shared.send(call, 'writes', ['json.del', toArgument(key), path])
      return Number(count)
    },
  }
}
