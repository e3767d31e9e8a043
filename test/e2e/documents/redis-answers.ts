import { expect } from 'bun:test'

const whole = { pagination: { next_cursor: null, has_more: false } }
const memory = { raw: expect.stringContaining('used_memory:') }
const entry = { id: expect.stringMatching(/^\d{13}-\d+$/), fields: [{ field: 'kind', value: 'signup' }] }
const colour = { member: expect.stringMatching(/^(red|green|blue)$/) }
const imported = { read: 1, written: 1, skipped: 0, failed: 0, stopped: false, errors: [] }

/** What docs/redis.md is answered on an empty Redis, in the order of its headings and commands. */
const sections: Readonly<Record<string, readonly object[]>> = {
  Registering: [{ name: 'redis-cache', config: { maxmemory: '256mb' } }],
  'Reading and writing': [
    { key: 'greeting', written: true },
    { key: 'greeting', value: 'hello' },
    { data: [{ key: 'greeting', type: 'string' }] },
    memory,
  ],
  Keys: [
    { key: 'session:1', written: true },
    { key: 'session:1:cart', written: true },
    {
      data: expect.arrayContaining([
        { key: 'session:1', type: 'string', ttl_ms: null, size_bytes: expect.any(Number) },
        { key: 'session:1:cart', type: 'string', ttl_ms: null, size_bytes: expect.any(Number) },
      ]),
      ...whole,
      db_size: 3,
    },
    { data: [{ key: 'session:1', type: 'string' }], ...whole, scanned: 1 },
  ],
  Tree: [
    {
      data: [
        { name: 'session:1', level: 1, keys: 2, is_key: true, types: { string: 2 } },
        { name: 'session:1:cart', level: 2, keys: 1, is_key: true },
      ],
      complete: true,
    },
  ],
  Databases: [{ data: expect.arrayContaining([expect.objectContaining({ keys: 3, expires: 1 })]), source: 'info' }],
  'Bulk delete and TTL': [
    { changed: 1, unchanged: 0, absent: 1 },
    { count: 2, sample: expect.arrayContaining(['session:1', 'session:1:cart']), complete: true, next_cursor: null },
    { deleted: 2, scanned: 3 },
  ],
  Memory: [{ sampled: 1, complete: true, total: { keys: 1 }, biggest: [{ key: 'greeting' }] }],
  'Any key': [
    { key: 'user:1', type: 'hash', written: true },
    {
      type: 'hash',
      length: 2,
      value: [
        { field: 'name', value: 'Ada' },
        { field: 'visits', value: '3' },
      ],
      truncated: false,
    },
    { change: 'persist', changed: true, ttl_ms: null },
    { change: 'rename', changed: true, to: 'user:2' },
  ],
  Strings: [
    { key: 'log', size_bytes: 11 },
    { value: 'first', end: 4 },
    { value: '9007199254740993' },
    { key: 'lock', written: true },
    {
      data: [
        { key: 'visits', value: '9007199254740993' },
        { key: 'log', value: 'first line\n' },
        { key: 'absent', value: null, missing: 'absent' },
      ],
    },
  ],
  Hashes: [
    { created: 2, updated: 0, length: 2 },
    { field: 'logins', value: '1' },
    {
      data: [
        { field: 'city', value: 'London' },
        { field: 'logins', value: '1' },
      ],
      length: 3,
    },
    { data: [{ field: 'name', value: 'Ada' }] },
    { updated: 1, removed: 1, length: 2 },
  ],
  Lists: [
    { pushed: 4, length: 4 },
    {
      data: [
        { index: 1, value: 'milk' },
        { index: 2, value: 'stamps' },
      ],
      pagination: { has_more: true },
    },
    { index: 0, written: true },
    { length: 5 },
    { removed: 1, length: 4 },
    { value: 'rye bread', source_length: 3, destination_length: 1 },
    { removed: 0, length: 3 },
    { data: ['flour', 'butter'], length: 1 },
  ],
  Sets: [
    { key: 'colours', added: 3 },
    { data: expect.arrayContaining([{ member: 'red' }, { member: 'green' }, { member: 'blue' }]), length: 3, ...whole },
    { data: [{ member: 'red' }] },
    { data: [{ member: 'red' }] },
    { data: [colour, colour] },
    { moved: true },
    { data: [colour] },
    { removed: 1 },
  ],
  'Sorted sets': [
    { key: 'scores', changed: 2 },
    { member: 'ada', score: '13.5' },
    {
      data: [
        { member: 'ada', score: '13.5' },
        { member: 'bob', score: '-inf' },
      ],
    },
    { data: [{ member: 'ada', score: '13.5' }] },
    { data: [{ member: 'ada', score: '13.5' }] },
    { data: [{ member: 'ada', rank: 1, reverse_rank: 0 }] },
    { removed: 1 },
  ],
  Streams: [
    { key: 'events', id: entry.id },
    { data: [entry], length: 1, ...whole },
    { length: 1, first_entry: entry, last_entry: entry },
    { group: 'mailers' },
    { data: [entry] },
    { data: [{ group: 'mailers', consumers: 1, pending: 1 }] },
    { data: [{ consumer: 'worker-1', pending: 1 }] },
    { summary: { pending: 1 }, data: [{ id: entry.id, consumer: 'worker-1', deliveries: 1 }] },
    { data: [], next_start: null },
    { acknowledged: 0 },
    { removed: 1 },
  ],
  Commands: [
    { result: 'OK' },
    { result: '12' },
    { results: [{ result: 17 }, { error: { details: { code: 'WRONGTYPE' } } }, { result: -2 }] },
  ],
  Transactions: [{ results: [{ result: 'OK' }, { result: 'OK' }] }, { results: [{ result: 70 }, { result: 30 }] }],
  'The server': [
    memory,
    { data: expect.any(Array) },
    { data: expect.arrayContaining([expect.objectContaining({ db: expect.any(String), cmd: expect.any(String) })]) },
    { config: { 'maxmemory-policy': 'noeviction' } },
    { events: expect.any(Array) },
  ],
  'Pub/sub': [{ channels: ['news', 'alerts'], patterns: ['news.*'] }, { receivers: 0 }],
  'Following a stream': [imported, { key: 'orders:log', from: '0' }, { id: '1-1' }],
  Monitor: [{ reason: 'seconds' }],
  'Export and import': [
    { key: 'moved:1', written: true },
    { key: 'moved:1', type: 'string', expires_at_ms: null, value: 'a' },
    { end: { keys: 1, failed: 0 } },
    imported,
  ],
}

/** All of it in one list. */
export const redisAnswers: readonly object[] = Object.values(sections).flat()
