import { z } from '@hono/zod-openapi'
import { RedisValue } from './schemas.ts'
import { cutMark } from './set-schemas.ts'
import { StreamEntry as StreamEntryPart } from './stream-schemas.ts'

const maxItems = 100_000
const maxEntries = 10_000
// With the name, the key and the ID no more than the 1,024 arguments that one command may have.
const maxEntryFields = 500

const decimal = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/
const infinite = /^[+-]?inf(inity)?$/i

/** A score as Redis reads it: a decimal number within a double, or an infinity. Redis refuses what over- or underflows. */
export const Score = z
  .union([z.number(), z.string().max(400)])
  .transform(String)
  .refine(isScore, { error: 'must be a number or one of inf, -inf' })
  .openapi({ type: ['number', 'string'], example: '1.5' })

function isScore(text: string): boolean {
  if (infinite.test(text)) return true
  const value = Number(text)
  return decimal.test(text) && Number.isFinite(value) && (value !== 0 || !/[1-9]/.test(text.replace(/[eE].*/, '')))
}

const FieldValue = z.strictObject({ field: RedisValue, value: RedisValue })
const ScoredMember = z.strictObject({ member: RedisValue, score: Score })

const idForm = /^\d{1,20}-\d{1,20}$/
const entryId = z.string().regex(idForm, { error: 'must be an entry ID like 1700000000000-0' })
const StreamEntry = z.strictObject({ id: entryId.optional(), fields: z.array(FieldValue).min(1).max(maxEntryFields) })
const maxIdPart = 2n ** 64n - 1n

/** What every body of a whole value says beside it. */
const common = {
  key: RedisValue,
  ttlMs: z.int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  keepTtl: z.boolean().optional().openapi({ description: 'Leave the TTL as it is' }),
  onlyNew: z.boolean().optional().openapi({ description: 'Write nothing where there is such a key, of any type' }),
  onlyExisting: z.boolean().optional().openapi({ description: 'Write nothing where there is no such key' }),
}

const items = <T extends z.ZodType>(item: T, max = maxItems) => z.array(item).min(1).max(max)

/** A key with a whole value of any type. */
export const PutKey = z
  .discriminatedUnion('type', [
    z.strictObject({ ...common, type: z.literal('string'), value: RedisValue }),
    z.strictObject({ ...common, type: z.literal('hash'), value: items(FieldValue) }),
    z.strictObject({ ...common, type: z.enum(['list', 'set']), value: items(RedisValue) }),
    z.strictObject({ ...common, type: z.literal('zset'), value: items(ScoredMember) }),
    z.strictObject({
      ...common,
      type: z.literal('stream'),
      value: items(StreamEntry, maxEntries).refine(isAscending, {
        error: 'must have an id in every entry, each above the one before and 0-0, or in none',
      }),
    }),
    z.strictObject({
      ...common,
      type: z.literal('json'),
      value: z.string().refine(isJson, { error: 'must be the text of a JSON document' }),
    }),
  ])
  .refine((body) => !(body.onlyNew && body.onlyExisting), {
    error: 'onlyNew and onlyExisting exclude each other',
    path: ['onlyNew'],
  })
  .refine((body) => !(body.keepTtl && body.ttlMs !== undefined), {
    error: 'keepTtl and ttlMs exclude each other',
    path: ['keepTtl'],
  })
  .openapi('PutRedisKey', {
    example: { key: 'user:1', type: 'hash', value: [{ field: 'name', value: 'Ada' }], ttlMs: 60000 },
  })

function isAscending(entries: readonly z.infer<typeof StreamEntry>[]): boolean {
  if (entries.every(({ id }) => id === undefined)) return true
  let last: readonly [bigint, bigint] = [0n, 0n]
  for (const { id } of entries) {
    // What is no ID at all breaks its own rule.
    if (id === undefined || !idForm.test(id)) return false
    const [ms = 0n, sequence = 0n] = id.split('-').map(BigInt)
    const isAbove = ms > last[0] || (ms === last[0] && sequence > last[1])
    if (!isAbove || ms > maxIdPart || sequence > maxIdPart) return false
    last = [ms, sequence]
  }
  return true
}

/** Whether a text is JSON; what it says is for the server to keep, digit for digit. */
export function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** A page of a value, in the form that a write of its type takes as far as its members are whole. */
export const ValuePage = z
  .union([
    RedisValue,
    z.array(StreamEntryPart),
    z.array(z.object({ field: RedisValue.nullable(), value: RedisValue.nullable(), ...cutMark })),
    z.array(z.object({ member: RedisValue.nullable(), score: z.string().nullable(), ...cutMark })),
    z.array(z.union([RedisValue, z.object({ value: RedisValue.nullable(), ...cutMark })])),
  ])
  .nullable()
  .openapi({
    description:
      'By type: text or bytes; fields; members; members with scores; entries; the text of a JSON document. What is truncated is only the beginning of a member, or null where it is too large to be read',
  })

export const KeyReport = z
  .object({
    key: RedisValue,
    type: z.string().openapi({ description: 'As TYPE says it: string, hash, list, set, zset, stream, ReJSON-RL, …' }),
    ttl_ms: z.number().nullable().openapi({ description: 'null: never expires' }),
    encoding: z.string().nullable().openapi({ description: 'OBJECT ENCODING; null where it is not allowed' }),
    size_bytes: z
      .number()
      .nullable()
      .openapi({ description: 'MEMORY USAGE of 5 samples; null where it is not allowed' }),
    length: z.number().nullable().openapi({ description: 'Bytes of a string, else members' }),
    value: ValuePage,
    truncated: z.boolean().openapi({ description: 'There is more of the value than this page and those before' }),
    note: z.string().nullable().openapi({ description: 'Why there is no value' }),
    pagination: z.object({ next_cursor: z.string().nullable(), has_more: z.boolean() }),
  })
  .openapi('RedisKey', {
    example: {
      key: 'user:1',
      type: 'hash',
      ttl_ms: 60000,
      encoding: 'listpack',
      size_bytes: 88,
      length: 1,
      value: [{ field: 'name', value: 'Ada' }],
      truncated: false,
      note: null,
      pagination: { next_cursor: null, has_more: false },
    },
  })
