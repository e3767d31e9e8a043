/** The classes of https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/ with the names that Redis itself publishes. */
const namesByClass = {
  g: 'del rename_from rename_to copy_to move_from move_to restore expire persist',
  $: 'set setrange setbit incrby incrbyfloat append pfadd',
  l: 'lpush rpush lpop rpop linsert lset lrem ltrim sortstore',
  s: 'sadd srem spop sinterstore sunionstore sdiffstore',
  h: 'hset hincrby hincrbyfloat hdel hexpire hexpired hpersist',
  z: 'zadd zincr zrem zremrangebyscore zremrangebyrank zremrangebylex zpopmin zpopmax zinterstore zunionstore zdiffstore zrangestore georadiusstore geosearchstore',
  t: 'xadd xtrim xdel xsetid xgroup-create xgroup-createconsumer xgroup-delconsumer xgroup-destroy xgroup-setid',
  x: 'expired',
  e: 'evicted',
  m: 'keymiss',
  n: 'new',
  o: 'overwritten',
  c: 'type_changed',
} as const

const classOf: ReadonlyMap<string, string> = new Map(
  Object.entries(namesByClass).flatMap(([letter, names]) => names.split(' ').map((name) => [name, letter] as const)),
)

// With d, whose names are those of modules.
const inA = 'g$lshzxetd'
const outsideA = 'mnoc'

/**
 * Whether a server whose `notify-keyspace-events` has these flags can publish every one of these events; without any, whether it publishes
 * anything. A name that is not Redis' own may be a module's, of whichever class.
 */
export function publishes(flags: string, events: ReadonlySet<string>): boolean {
  const on = new Set(flags.includes('A') ? flags + inA : flags)
  if (![...inA, ...outsideA].some((letter) => on.has(letter))) return false
  return [...events].map((name) => classOf.get(name)).every((letter) => letter === undefined || on.has(letter))
}

/** The classes that are to be switched on for these events: all that have a letter in common, and what that leaves out. */
export function classesFor(events: ReadonlySet<string>): string {
  const needed = new Set([...events].map((name) => classOf.get(name)))
  return `A${[...outsideA].filter((letter) => needed.has(letter)).join('')}`
}
