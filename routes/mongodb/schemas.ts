import { z } from '@hono/zod-openapi'
import { databaseName as namePattern } from '#src/engines/mongodb/options.ts'

/** The registered database unless another is named. */
export const databaseName = z
  .string()
  .regex(namePattern, { error: 'must be the name of a database' })
  .optional()
  .openapi({ description: 'The registered one unless given', examples: ['app'] })

export const collectionName = z
  .string()
  .min(1)
  .max(255)
  .refine((value) => !value.includes('\0') && !value.includes('$') && value.isWellFormed(), {
    error: 'must be the name of a collection',
  })
  .openapi({ description: 'The name of the collection', example: 'tasks' })
