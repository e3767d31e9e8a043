import { z } from '@hono/zod-openapi'
import type { Encoding as EncodingName, RedisValue as Value } from '#src/engines/redis/values.ts'
import { invalid } from '#src/errors.ts'

/** Text, or `{ "base64": … }` for bytes that are not UTF-8. */
export const RedisValue = z
  .union([z.string(), z.strictObject({ base64: z.base64({ error: 'must be base64' }) })], {
    error: 'must be text or { "base64": "…" }',
  })
  .openapi('RedisValue', {
    description: 'Text when the bytes are UTF-8, else { "base64": "…" }; both forms are taken',
    example: 'hello',
  })

export const Encoding = z.enum(['utf8', 'base64'], { error: 'must be utf8 or base64' }).default('utf8').openapi({
  description: 'base64 forces the base64 form in the answer, and says that `key` is base64',
  default: 'utf8',
})

/** How many keys a logical database has. */
export const DatabaseSize = z
  .number()
  .nullable()
  .openapi({ description: 'Keys in the database; null: the user may not DBSIZE' })

const maxDatabase = 9_999

/** Which logical database; the registered one unless given. */
export const DatabaseNumber = z
  .string()
  .regex(/^\d{1,4}$/, { error: 'must be a database number' })
  .transform(Number)
  .optional()
  .openapi({
    type: 'integer',
    minimum: 0,
    maximum: maxDatabase,
    examples: [0],
    description: 'Another logical database, below config.databases; on a connection of its own',
  })

/** A key as it travels in a query: `encoding=base64` says that it is base64. */
export const KeyName = z.string().openapi({ description: 'Any text; base64 with encoding=base64', example: 'greeting' })

/** A key of a query as its bytes are to be read. `VALIDATION_FAILED` for what is no base64. */
export function keyOf(text: string, encoding: EncodingName): Value {
  if (encoding === 'utf8') return text
  if (!z.base64().safeParse(text).success) throw invalid('key', 'must be base64 with encoding=base64')
  return { base64: text }
}
