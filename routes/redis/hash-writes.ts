import { z } from '@hono/zod-openapi'
import { type RedisValue as Value, toBytes } from '#src/engines/redis/values.ts'
import { writeContract } from './contracts.ts'
import { RedisValue } from './schemas.ts'
import { encodedWriteQuery } from './set-schemas.ts'

// Two arguments each, of at most 1,024.
const maxPairs = 500
const maxFields = 1_000

const differ = (fields: readonly Value[]) =>
  new Set(fields.map((field) => toBytes(field).toString('latin1'))).size === fields.length

const Edit = z
  .strictObject({
    key: RedisValue,
    set: z
      .array(z.strictObject({ field: RedisValue, value: RedisValue }))
      .max(maxPairs)
      .optional(),
    remove: z.array(RedisValue).max(maxFields).optional(),
    onlyNew: z.boolean().optional().openapi({ description: 'Fields that are there stay as they are' }),
    mustExist: z.boolean().optional().openapi({ description: 'Nothing is written unless the hash is there' }),
  })
  .refine(({ set = [], remove = [] }) => set.length + remove.length > 0, {
    error: 'set or remove must name a field',
    path: ['set'],
  })
  .refine(({ set = [], remove = [] }) => differ([...set.map(({ field }) => field), ...remove]), {
    error: 'the fields of set and remove must differ',
    path: ['set'],
  })
  .openapi('EditRedisHash', {
    example: { key: 'user:1', set: [{ field: 'name', value: 'Ada' }], remove: ['nickname'] },
  })

const Edited = z
  .object({
    key: RedisValue,
    created: z.number(),
    updated: z.number().openapi({ description: 'Fields that were there and were set, also to the same value' }),
    skipped: z.number().openapi({ description: 'Fields that onlyNew or mustExist kept from being set' }),
    removed: z.number(),
    length: z.number().openapi({ description: 'Fields that are there now; a hash of none is gone' }),
  })
  .openapi('RedisHashEdited', {
    example: { key: 'user:1', created: 1, updated: 0, skipped: 0, removed: 0, length: 1 },
  })

/** Sets and removes fields. */
export const edit = writeContract({
  query: encodedWriteQuery,
  path: '/{databaseId}/hashes',
  operationId: 'RedisHashesController_edit',
  summary: 'Set and remove fields of a hash',
  description:
    'All of it at once or nothing. Makes the hash unless mustExist is set. A field that is set loses its own TTL; the TTL of the key stays.',
  operation: 'write',
  body: Edit,
  answer: Edited,
  answered: 'What became of the fields',
})

const [int64Min, int64Max] = [-(2n ** 63n), 2n ** 63n - 1n]
const isInt64 = (text: string) => /^-?\d{1,19}$/.test(text) && BigInt(text) >= int64Min && BigInt(text) <= int64Max

const isWhole = (by: number | string) => (typeof by === 'number' ? Number.isInteger(by) : /^-?\d+$/.test(by))
const isExact = (by: number | string) => (typeof by === 'number' ? Number.isSafeInteger(by) : isInt64(by))

const Increment = z
  .strictObject({
    key: RedisValue,
    field: RedisValue,
    by: z
      .union([z.number(), z.string().regex(/^-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?$/)], {
        error: 'must be a number, or its decimal text',
      })
      .default(1)
      .openapi({ description: 'As text where it is beyond 2^53' }),
    float: z.boolean().optional().openapi({ description: 'Adds as HINCRBYFLOAT; so does a fraction' }),
  })
  .refine(({ by, float }) => float === true || !isWhole(by) || isExact(by), {
    error: 'must be of 64 bits, and text beyond 2^53, unless float is set',
    path: ['by'],
  })
  .transform(({ by, float, ...field }) => ({ ...field, by: String(by), float: float === true || !isWhole(by) }))
  .openapi('IncrementRedisHashField', { example: { key: 'user:1', field: 'logins', by: 1 } })

/** Increments a field. */
export const increment = writeContract({
  query: encodedWriteQuery,
  path: '/{databaseId}/hashes/increment',
  operationId: 'RedisHashesController_increment',
  summary: 'Increment a field of a hash',
  description:
    'From 0 where it is absent. Whole numbers are exact to 64 bits. A fraction, or float, adds as Redis adds floating-point numbers.',
  operation: 'write',
  body: Increment,
  answer: z
    .object({
      key: RedisValue,
      field: RedisValue,
      value: z.string().openapi({ description: 'The new value as decimal text: it may be beyond 2^53' }),
    })
    .openapi('RedisHashIncremented', { example: { key: 'user:1', field: 'logins', value: '1' } }),
  answered: 'The new value',
})

const Ttl = z
  .strictObject({
    key: RedisValue,
    fields: z.array(RedisValue).min(1).max(maxFields),
    ttlMs: z
      .int()
      .min(1)
      .max(2 ** 46)
      .nullable()
      .openapi({ description: 'null lets the fields live for ever' }),
    condition: z
      .enum(['nx', 'xx', 'gt', 'lt'])
      .optional()
      .openapi({ description: 'Only a field without a TTL, with one, with a shorter one, with a longer one' }),
  })
  .refine(({ fields }) => differ(fields), { error: 'must differ', path: ['fields'] })
  .refine(({ ttlMs, condition }) => ttlMs !== null || condition === undefined, {
    error: 'a condition needs a ttlMs',
    path: ['condition'],
  })
  .openapi('SetRedisHashTtl', { example: { key: 'user:1', fields: ['code'], ttlMs: 60000 } })

/** Sets the TTL of fields. */
export const setTtl = writeContract({
  query: encodedWriteQuery,
  path: '/{databaseId}/hashes/ttl',
  operationId: 'RedisHashesController_setTtl',
  summary: 'Set or remove the TTL of fields',
  description: 'Redis 7.4, Valkey 9 and newer; on others DB_UNSUPPORTED. `hashes` answers the TTL of each field.',
  operation: 'write',
  body: Ttl,
  answer: z
    .object({
      key: RedisValue,
      data: z.array(
        z.object({
          field: RedisValue,
          outcome: z.enum(['changed', 'unchanged', 'absent']).openapi({
            description: 'unchanged: the condition forbade it, or there was no TTL to remove; absent: no such field',
          }),
        }),
      ),
      changed: z.number(),
    })
    .openapi('RedisHashTtlSet', {
      example: { key: 'user:1', data: [{ field: 'code', outcome: 'changed' }], changed: 1 },
    }),
  answered: 'What became of each field',
})
