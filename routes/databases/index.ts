import { createRouter } from '#src/http/router.ts'
import { collection } from './collection.ts'
import { inspections } from './info.ts'
import { permissions } from './permissions.ts'
import { one } from './one.ts'
import { tests } from './test.ts'

// Fixed paths stand before `/{id}`.
export const databases = createRouter()
  .route('/', collection)
  .route('/', tests)
  .route('/', inspections)
  .route('/', permissions)
  .route('/', one)
