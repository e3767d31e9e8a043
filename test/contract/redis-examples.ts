import { stores } from '#test/support/stores.ts'

type Command = readonly [string, ...string[]]

const greeting: readonly Command[] = [['SET', 'greeting', 'hello']]
const hash: readonly Command[] = [
  ['DEL', 'user:1'],
  ['HSET', 'user:1', 'name', 'Ada', 'code', '7'],
]
const list: readonly Command[] = [
  ['DEL', 'queue', 'in progress'],
  ['RPUSH', 'queue', 'first', 'second'],
]
const set: readonly Command[] = [
  ['DEL', 'colours', 'used-colours'],
  ['SADD', 'colours', 'red', 'green'],
]
const sortedSet: readonly Command[] = [
  ['DEL', 'scores'],
  ['ZADD', 'scores', '12.5', 'ada'],
]
const entry: readonly Command[] = [
  ['DEL', 'events'],
  ['XADD', 'events', '1700000000000-0', 'kind', 'signup'],
]
const group: readonly Command[] = [...entry, ['XGROUP', 'CREATE', 'events', 'mailers', '0']]
const delivered: readonly Command[] = [
  ...group,
  ['XREADGROUP', 'GROUP', 'mailers', 'worker-1', 'COUNT', '1', 'STREAMS', 'events', '>'],
]
const number: readonly Command[] = [['SET', 'visits', '1']]
const text: readonly Command[] = [['SET', 'log', 'hello world']]
const nothing: readonly Command[] = []

/** What each operation's documented request is about, as commands that make it; a new Redis route joins here. */
export const shownKeys: Readonly<Record<string, readonly Command[]>> = {
  RedisClientsController_list: nothing,
  RedisCommandsController_pipeline: greeting,
  RedisCommandsController_run: greeting,
  RedisCommandsController_transact: greeting,
  RedisConfigController_get: nothing,
  RedisDatabasesController_list: greeting,
  RedisHashesController_edit: hash,
  RedisHashesController_increment: hash,
  RedisHashesController_list: hash,
  RedisHashesController_setTtl: hash,
  RedisInfoController_get: nothing,
  RedisJsonController_delete: nothing,
  RedisJsonController_get: nothing,
  RedisJsonController_merge: nothing,
  RedisJsonController_set: nothing,
  RedisKeyController_delete: greeting,
  RedisKeyController_get: greeting,
  RedisKeyController_put: hash,
  RedisKeyController_update: greeting,
  RedisKeysController_delete: greeting,
  RedisKeysController_expire: greeting,
  RedisKeysController_tree: hash,
  RedisLatencyController_get: nothing,
  RedisListsController_insert: list,
  RedisListsController_list: list,
  RedisListsController_move: list,
  RedisListsController_pop: list,
  RedisListsController_push: list,
  RedisListsController_remove: list,
  RedisListsController_set: list,
  RedisListsController_trim: list,
  RedisMemoryController_get: greeting,
  RedisSetsController_add: set,
  RedisSetsController_list: set,
  RedisSetsController_move: set,
  RedisSetsController_pop: set,
  RedisSetsController_random: set,
  RedisSetsController_remove: set,
  RedisSlowlogController_list: nothing,
  RedisSlowlogController_reset: nothing,
  RedisSortedSetsController_add: sortedSet,
  RedisSortedSetsController_increment: sortedSet,
  RedisSortedSetsController_list: sortedSet,
  RedisSortedSetsController_remove: sortedSet,
  RedisStreamConsumersController_list: delivered,
  RedisStreamConsumersController_pending: delivered,
  RedisStreamConsumersController_remove: delivered,
  RedisStreamDeliveriesController_acknowledge: delivered,
  RedisStreamDeliveriesController_autoclaim: delivered,
  RedisStreamDeliveriesController_claim: delivered,
  RedisStreamDeliveriesController_read: group,
  RedisStreamGroupsController_create: entry,
  RedisStreamGroupsController_list: group,
  RedisStreamGroupsController_remove: group,
  RedisStreamGroupsController_setId: group,
  RedisStreamsController_add: entry,
  RedisStreamsController_info: entry,
  RedisStreamsController_list: entry,
  RedisStreamsController_remove: entry,
  RedisStreamsController_trim: entry,
  RedisStringsController_append: text,
  RedisStringsController_compareAndSet: greeting,
  RedisStringsController_exchange: nothing,
  RedisStringsController_get: greeting,
  RedisStringsController_increment: number,
  RedisStringsController_many: greeting,
  RedisStringsController_set: nothing,
  RedisStringsController_setRange: text,
  RedisStringsController_take: greeting,
}

/** Runs commands on the store, as a client of its own. */
export async function inRedis(commands: readonly Command[]): Promise<readonly unknown[]> {
  if (commands.length === 0) return []
  const { redis } = stores()
  if (redis === null) return []
  const client = new Bun.RedisClient(redis.url)
  try {
    const replies: unknown[] = []
    for (const [name, ...rest] of commands) replies.push(await client.send(name, rest))
    return replies
  } finally {
    client.close()
  }
}

/** The prefixes of operations that the store at hand has no command for. */
export async function lackedOperations(): Promise<readonly string[]> {
  const needed = { RedisJsonController: 'JSON.SET', RedisHashesController_setTtl: 'HPEXPIRE' }
  const [found] = await inRedis([['COMMAND', 'INFO', ...Object.values(needed)]])
  return Object.keys(needed).filter((_, index) => ((found ?? []) as unknown[])[index] === null)
}
