import { z } from '@hono/zod-openapi'

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
