import { createRouter } from '#src/http/router.ts'
import { queries } from './query.ts'
import { tables } from './tables.ts'

export const postgres = createRouter().route('/', queries).route('/', tables)
