import { createRouter } from '#src/http/router.ts'
import { aggregation } from './aggregate.ts'
import { collections } from './collections.ts'
import { databases } from './databases.ts'
import { documents } from './documents.ts'

export const mongodb = createRouter()
  .route('/', databases)
  .route('/', collections)
  .route('/', documents)
  .route('/', aggregation)
