import type { Call } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Commands, Outcome } from '../commands.ts'

// A number or a word in a moment, whatever the arguments and the value; SET but for its option GET.
const small: ReadonlySet<string> = new Set(
  `append dbsize decr decrby del exists expire expireat expiretime getbit hdel hexists hincrby hlen hset hsetnx
   hstrlen incr incrby llen lpush lpushx lset ltrim mset msetnx persist pexpire pexpireat pexpiretime pfadd ping psetex
   pttl publish rename renamenx rpush rpushx sadd scard set setbit setex setnx setrange sismember smove spublish srem strlen time touch
   ttl type unlink xack xadd xdel xlen xtrim zadd zcard zcount zincrby zlexcount zrank zrem zremrangebylex zremrangebyrank
   zremrangebyscore zrevrank zscore`.split(/\s+/),
)
// Nothing but what their first argument's value holds, and that once.
const ofOneKey: ReadonlySet<string> = new Set(
  `get getdel getex getrange getset hget hgetall hkeys hvals lindex lpop lrange rpop smembers spop substr zpopmax zpopmin zrange
   zrangebylex zrangebyscore zrevrange zrevrangebylex zrevrangebyscore`.split(/\s+/),
)
// They make a value by more than the bytes of their arguments.
const growing: ReadonlySet<string> = new Set(['rename', 'renamenx', 'setbit', 'setrange'])
// In one piece, so that MEMORY USAGE is exact and no sample.
const compact: ReadonlySet<string> = new Set(['embstr', 'int', 'intset', 'listpack', 'raw', 'ziplist'])
const maxCommands = 100
const maxKeys = 50

/**
 * Whether replies are small enough for the connection of all callers: by the commands alone where that will do, else by what their keys hold
 * now, of which together at most `maxBytes`. False where it can not be told.
 */
export async function repliesFit(
  shared: Commands,
  batch: readonly BatchCommand[],
  maxBytes: number,
  call: Call,
): Promise<boolean> {
  if (batch.length > maxCommands) return false
  const keys: (string | Buffer)[] = []
  for (const command of batch) {
    const [name, ...args] = command
    if (name === 'mget') keys.push(...args)
    else if (ofOneKey.has(name)) keys.push(...args.slice(0, 1))
    else if (!isSmall(command)) return false
  }
  if (keys.length === 0) return true
  if (keys.length > maxKeys || batch.some(([name]) => growing.has(name))) return false
  // What is written may be read further on.
  let bytes = keys.length * batch.flat().reduce((sum, word) => sum + Buffer.byteLength(word), 0)
  if (bytes > maxBytes) return false
  const questions = keys.flatMap((key): BatchCommand[] => [
    ['object', 'encoding', key],
    ['memory', 'usage', key],
  ])
  const outcomes = await shared.each(call, 'reads', ...questions)
  for (const [index] of keys.entries()) bytes += sizeOf(outcomes[index * 2], outcomes[index * 2 + 1])
  return bytes <= maxBytes
}

/** Whether a command is over in a moment though Redis does not call it fast: SET, DEL. */
export function isBrief(name: string): boolean {
  return small.has(name)
}

function isSmall([name, ...args]: BatchCommand): boolean {
  if (name === 'ping') return args.length === 0
  // A server that is busy with a script takes no new connection that has to SELECT.
  if (name === 'script' || name === 'function') return args.length === 1 && String(args[0]).toLowerCase() === 'kill'
  return small.has(name) && !(name === 'set' && args.slice(2).some((option) => isGet(option)))
}

function isGet(option: string | Buffer): boolean {
  return option.length === 3 && option.toString().toLowerCase() === 'get'
}

function sizeOf(encoding: Outcome | undefined, usage: Outcome | undefined): number {
  if (!encoding || !usage || 'error' in encoding || 'error' in usage) return Number.POSITIVE_INFINITY
  if (encoding.reply === null && usage.reply === null) return 0
  return compact.has(String(encoding.reply)) ? Number(usage.reply) : Number.POSITIVE_INFINITY
}
