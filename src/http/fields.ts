import { z } from '@hono/zod-openapi'

/** Text PostgreSQL can store: no NUL, no lone surrogate. Lengths in characters. */
export const text = (max: number, min = 0) =>
  z
    .string()
    .min(min)
    .max(max)
    .refine((value) => !value.includes('\0') && value.isWellFormed(), {
      error: 'must be well-formed text without NUL characters',
    })

/** In lower case, as PostgreSQL writes them: memory is asked by it. */
export const uuid = z.uuid({ error: 'must be a UUID' }).toLowerCase()

/** The path parameter of every route that works on a registered database. */
export const DatabaseIdParams = z.object({
  databaseId: uuid.openapi({
    param: { name: 'databaseId', in: 'path' },
    description: 'The id its registration answered',
    example: '3f8b6c1e-6d0a-4a57-9b0e-0d6f0c9a7c11',
  }),
})

/** A whole number in a query, in decimal digits alone. */
export const wholeNumber = (minimum: number, maximum: number, fallback: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, { error: 'must be a whole number' })
    .transform(Number)
    .pipe(z.int().min(minimum).max(maximum))
    .default(fallback)
    .openapi({ type: 'integer', minimum, maximum, default: fallback })

/** A list's page size: 100 unless given, 1,000 at the most. */
export const limit = wholeNumber(1, 1000, 100)

/** A comma-joined list, as Studio's client sends arrays. */
export const commaList = <T extends z.ZodType<unknown, string>>(item: T) =>
  z
    .string()
    .transform((value) => value.split(',').filter((entry) => entry !== ''))
    .pipe(z.array(item).min(1).max(50))

export const booleanQuery = z.stringbool({
  truthy: ['true', '1'],
  falsy: ['false', '0'],
  error: 'must be true or false',
})
