import { z } from '@hono/zod-openapi'
import { KeyName, RedisValue } from './schemas.ts'
import { cutMark } from './set-schemas.ts'

export const StreamKey = KeyName.openapi({ example: 'events' })
export const GroupQuery = z
  .string()
  .openapi({ description: 'The consumer group; base64 with encoding=base64', example: 'mailers' })

const idRule = 'must be an id: 1700000000000-0, or 1700000000000'
const id = String.raw`\d{1,20}(-\d{1,20})?`

/** An entry's id; without a sequence number the first of its millisecond. */
export const EntryId = z
  .string()
  .regex(new RegExp(`^${id}$`), { error: idRule })
  .openapi({ example: '1700000000000-0' })

/** A bound of ids as Redis takes it. */
export const idBound = (open: '-' | '+') =>
  z
    .string()
    .regex(new RegExp(`^([+-]|\\(?${id})$`), {
      error: 'must be an id, with ( before it where it is left out, or - or +',
    })
    .default(open)

/** Up to as many ids as one command takes. */
export const EntryIds = z.array(EntryId).min(1).max(1_000)

export const StreamFields = z.array(z.object({ field: RedisValue, value: RedisValue, ...cutMark }))

export const StreamEntry = z
  .object({
    id: z.string(),
    fields: StreamFields.nullable().openapi({
      description:
        'In the order they were added, names may repeat; null: not asked for, deleted while it was pending, or too large to be answered',
    }),
    truncated: z.literal(true).optional().openapi({ description: 'The entry is too large to be answered' }),
  })
  .openapi('RedisStreamEntry', {
    example: { id: '1700000000000-0', fields: [{ field: 'kind', value: 'signup' }] },
  })

const trimParts = {
  maxLength: z.int().min(0).optional().openapi({ description: 'Keeps so many of the newest entries' }),
  minId: EntryId.optional().openapi({ description: 'Keeps entries from this id on; Redis 6.2' }),
  exact: z.boolean().optional().openapi({ description: 'To the entry; else by whole nodes, which costs less' }),
  limit: z
    .int()
    .min(0)
    .max(1_000_000)
    .optional()
    .openapi({ description: 'Looks at so many entries at the most; not with exact' }),
}

interface TrimInput {
  readonly maxLength?: number | undefined
  readonly minId?: string | undefined
  readonly exact?: boolean | undefined
  readonly limit?: number | undefined
}

const hasOneEnd = ({ maxLength, minId }: TrimInput) => (maxLength === undefined) !== (minId === undefined)
const oneEnd = { error: 'exactly one of maxLength and minId must be given', path: ['maxLength'] }
const isBoundable = ({ exact, limit }: TrimInput) => !(exact && limit !== undefined)
const boundable = { error: 'exact and limit exclude each other', path: ['limit'] }

/** How far a stream is shortened when an entry is added. */
export const TrimOnAdd = z.strictObject(trimParts).refine(hasOneEnd, oneEnd).refine(isBoundable, boundable)

/** The same with the key, as a body of its own. */
export const TrimBody = z
  .strictObject({ key: RedisValue, ...trimParts })
  .refine(hasOneEnd, oneEnd)
  .refine(isBoundable, boundable)
  .openapi('RedisStreamTrim', { example: { key: 'events', maxLength: 1000 } })

export const GroupBody = { key: RedisValue, group: RedisValue }
export const ConsumerBody = { ...GroupBody, consumer: RedisValue }
