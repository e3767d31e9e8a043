import type { Redis } from 'ioredis'

const text = (bytes: unknown): string => (bytes as Buffer).toString('latin1')

/** What a small logical database holds, by key, bytes as latin1 text: comparable, whatever the server's encoding and order. */
export async function contentOf(redis: Redis): Promise<Readonly<Record<string, readonly unknown[]>>> {
  const keys = await redis.keysBuffer('*')
  const found = await Promise.all(keys.map(async (key) => [text(key), await valueOf(redis, key)] as const))
  return Object.fromEntries(found.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

async function valueOf(redis: Redis, key: Buffer): Promise<readonly unknown[]> {
  const type = await redis.type(key)
  switch (type) {
    case 'string':
      return [type, text(await redis.getBuffer(key))]
    case 'list':
      return [type, (await redis.lrangeBuffer(key, 0, -1)).map(text)]
    case 'set':
      return [type, (await redis.smembersBuffer(key)).map(text).toSorted()]
    case 'zset':
      return [type, pairs((await flat(redis, 'zrange', key, '0', '-1', 'withscores')).map(text)).toSorted()]
    case 'hash':
      return [type, (await fieldsOf(redis, key)).toSorted()]
    default:
      return [type, ...(await streamOf(redis, key))]
  }
}

// ioredis makes an object of HGETALL, whose names are text.
async function fieldsOf(redis: Redis, key: Buffer): Promise<readonly string[][]> {
  const [names, values] = await Promise.all([redis.hkeysBuffer(key), redis.hvalsBuffer(key)])
  return names.map((name, at) => [text(name), text(values[at])])
}

async function streamOf(redis: Redis, key: Buffer): Promise<readonly unknown[]> {
  const entries = (await flat(redis, 'xrange', key, '-', '+')) as unknown as [Buffer, Buffer[]][]
  const info = await flat(redis, 'xinfo', 'stream', key)
  const groups = (await flat(redis, 'xinfo', 'groups', key)) as unknown as unknown[][]
  const of = (list: readonly unknown[], name: string) =>
    text(list[list.findIndex((item, at) => at % 2 === 0 && text(item) === name) + 1])
  return [
    entries.map(([id, fields]) => [text(id), fields.map(text)]),
    of(info, 'last-generated-id'),
    groups.map((group) => [of(group, 'name'), of(group, 'last-delivered-id')]),
  ]
}

// For a client that speaks RESP2: pairs come as a list.
async function flat(redis: Redis, name: string, ...args: (string | Buffer)[]): Promise<readonly unknown[]> {
  return (await redis.callBuffer(name, ...args)) as unknown[]
}

function pairs(items: readonly string[]): readonly string[][] {
  return items.flatMap((item, at) => (at % 2 === 0 ? [[item, items[at + 1] ?? '']] : []))
}
