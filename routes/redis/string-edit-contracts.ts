import { z } from '@hono/zod-openapi'
import { writeContract } from './contracts.ts'
import { Encoding, RedisValue } from './schemas.ts'

const keeping = {
  ttlMs: z.int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  keepTtl: z.boolean().optional(),
}
const excludes = (value: { readonly ttlMs?: number | undefined; readonly keepTtl?: boolean | undefined }) =>
  !(value.keepTtl && value.ttlMs !== undefined)
const excluded = { error: 'keepTtl and ttlMs exclude each other', path: ['keepTtl'] }

const Size = z
  .object({ key: RedisValue, size_bytes: z.number() })
  .openapi('RedisStringSize', { example: { key: 'log', size_bytes: 11 } })

export const append = writeContract({
  path: '/{databaseId}/append',
  operationId: 'RedisStringsController_append',
  summary: 'Append to a string value',
  description: 'Creates it where it is absent; its TTL stays.',
  operation: 'write',
  body: z
    .strictObject({ key: RedisValue, value: RedisValue })
    .openapi('AppendRedisString', { example: { key: 'log', value: 'hello world' } }),
  answer: Size,
  answered: 'Its size from now on',
  codes: [],
})

export const setRange = writeContract({
  path: '/{databaseId}/set-range',
  operationId: 'RedisStringsController_setRange',
  summary: 'Write over a part of a string value',
  description: 'From a byte that is not beyond its end, growing it where needed; its TTL stays.',
  operation: 'write',
  body: z
    .strictObject({
      key: RedisValue,
      offset: z
        .int()
        .min(0)
        .max(2 ** 40),
      value: RedisValue,
    })
    .openapi('SetRedisStringRange', { example: { key: 'log', offset: 0, value: 'Hello' } }),
  answer: Size,
  answered: 'Its size from now on',
  codes: ['DB_CONFLICT'],
})

export const increment = writeContract({
  path: '/{databaseId}/increment',
  operationId: 'RedisStringsController_increment',
  summary: 'Add to a number in a string value',
  description:
    'From 0 where it is absent. Whole numbers are exact to 64 bits; by is text where it is beyond 2^53. A fraction, or float, adds as Redis adds floating-point numbers.',
  operation: 'write',
  body: z
    .strictObject({
      key: RedisValue,
      by: z
        .union(
          [
            z.number(),
            z
              .string()
              .max(64)
              .regex(/^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?$/),
          ],
          { error: 'must be a number, as text or not' },
        )
        .default(1),
      float: z.boolean().optional(),
    })
    .openapi('IncrementRedisString', { example: { key: 'visits', by: 1 } }),
  answer: z
    .object({ key: RedisValue, value: z.string() })
    .openapi('RedisNumber', { example: { key: 'visits', value: '9007199254740993' } }),
  answered: 'The number, as text',
  codes: [],
})

export const exchange = writeContract({
  path: '/{databaseId}/get-set',
  operationId: 'RedisStringsController_exchange',
  summary: 'Set a string value and get the one before',
  description: 'As one step. A value before that is above 1 MiB is RESULT_TOO_LARGE, and nothing is written.',
  operation: 'write',
  body: z
    .strictObject({ key: RedisValue, value: RedisValue, encoding: Encoding, ...keeping })
    .refine(excludes, excluded)
    .openapi('ExchangeRedisString', { example: { key: 'token', value: 'new' } }),
  answer: z
    .object({
      key: RedisValue,
      previous: z.union([RedisValue, z.null()]).openapi({ description: 'null: there was none' }),
    })
    .openapi('RedisStringExchanged', { example: { key: 'token', previous: 'old' } }),
  answered: 'The value before',
  codes: ['DB_CONFLICT'],
})

export const take = writeContract({
  path: '/{databaseId}/get-delete',
  operationId: 'RedisStringsController_take',
  summary: 'Get a string value and delete it',
  description: 'As one step. A value above 1 MiB is RESULT_TOO_LARGE, and stays.',
  operation: 'delete',
  body: z
    .strictObject({ key: RedisValue, encoding: Encoding })
    .openapi('TakeRedisString', { example: { key: 'greeting' } }),
  answer: z
    .object({ key: RedisValue, value: RedisValue, ttl_ms: z.number().nullable() })
    .openapi('RedisStringTaken', { example: { key: 'greeting', value: 'hello', ttl_ms: null } }),
  answered: 'The value it had',
  codes: ['NOT_FOUND', 'DB_CONFLICT'],
})

export const compareAndSet = writeContract({
  path: '/{databaseId}/compare-and-set',
  operationId: 'RedisStringsController_compareAndSet',
  summary: 'Set a string value if it is what it should be',
  description: 'As one step, by WATCH. ifEqual null asks for no key; any value compares byte for byte.',
  operation: 'write',
  body: z
    .strictObject({ key: RedisValue, ifEqual: z.union([RedisValue, z.null()]), value: RedisValue, ...keeping })
    .refine(excludes, excluded)
    .openapi('CompareAndSetRedisString', { example: { key: 'greeting', ifEqual: 'hello', value: 'goodbye' } }),
  answer: z
    .object({ key: RedisValue, written: z.boolean().openapi({ description: 'false: it holds another value' }) })
    .openapi('RedisStringCompared', { example: { key: 'greeting', written: true } }),
  answered: 'Whether it was written',
  codes: ['DB_CONFLICT'],
})
