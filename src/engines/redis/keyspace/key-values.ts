import type { BatchCommand } from '../wire/batch.ts'
import { type RedisValue, toArgument } from '../values.ts'

export interface FieldValue {
  readonly field: RedisValue
  readonly value: RedisValue
}

export interface ScoredMember {
  readonly member: RedisValue
  /** As the server says it: a number may be `inf`. */
  readonly score: string
}

/** A whole value with its type. A stream's entry without an `id` gets one from the server; `json` is the document's text. */
export type TypedValue =
  | { readonly type: 'string' | 'json'; readonly value: RedisValue }
  | { readonly type: 'hash'; readonly value: readonly FieldValue[] }
  | { readonly type: 'list' | 'set'; readonly value: readonly RedisValue[] }
  | { readonly type: 'zset'; readonly value: readonly ScoredMember[] }
  | {
      readonly type: 'stream'
      readonly value: readonly { readonly id?: string | undefined; readonly fields: readonly FieldValue[] }[]
    }

// Even, so that pairs stay together; with name and key below the 1,024 that one command may have.
const argumentsPerCommand = 1_000

/** The commands that make a value of a key that is not there. */
export function writesOf(key: string | Buffer, typed: TypedValue): readonly BatchCommand[] {
  switch (typed.type) {
    case 'string':
      return [['set', key, toArgument(typed.value)]]
    case 'json':
      return [['json.set', key, '$', toArgument(typed.value)]]
    case 'hash':
      return split('hset', key, typed.value.flatMap(pairOf))
    case 'list':
      return split('rpush', key, typed.value.map(toArgument))
    case 'set':
      return split('sadd', key, typed.value.map(toArgument))
    case 'zset':
      return split(
        'zadd',
        key,
        typed.value.flatMap(({ score, member }) => [score, toArgument(member)]),
      )
    case 'stream':
      return typed.value.map(({ id = '*', fields }) => ['xadd', key, id, ...fields.flatMap(pairOf)])
  }
}

function pairOf({ field, value }: FieldValue): (string | Buffer)[] {
  return [toArgument(field), toArgument(value)]
}

function split(name: string, key: string | Buffer, args: readonly (string | Buffer)[]): readonly BatchCommand[] {
  return Array.from({ length: Math.ceil(args.length / argumentsPerCommand) }, (_, index) => {
    const from = index * argumentsPerCommand
    return [name, key, ...args.slice(from, from + argumentsPerCommand)]
  })
}
