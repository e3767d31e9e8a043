import { limit, text } from '#src/http/fields.ts'

/** A list's page size, with its description. */
export const pageSize = limit.openapi({ description: 'Rows per page' })

/** Where a list goes on: opaque, so that no example of one could be true. */
export const pageCursor = (maxLength: number) =>
  text(maxLength, 1)
    .optional()
    .openapi({ description: 'Where the page before ended, as its answer gave it; leave it out for the first page' })
