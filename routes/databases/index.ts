import { ApiError } from '#src/errors.ts'
import { createRouter } from '#src/http/router.ts'
import { collection } from './collection.ts'
import { inspections } from './info.ts'
import { permissions } from './permissions.ts'
import { one } from './one.ts'
import { tests } from './test.ts'

/** The methods fixed paths take. Any other would be the one `/{id}` has, with a word that is no id. */
const fixed = createRouter()
for (const [path, allow] of [
  ['/stats', 'GET, HEAD'],
  ['/test', 'POST'],
  ['/by-name/:projectRef/:name', 'GET, HEAD'],
] as const) {
  fixed.all(path, () => {
    throw new ApiError('METHOD_NOT_ALLOWED', `This route takes ${allow}.`, { headers: { allow } })
  })
}

// Fixed paths stand before `/{id}`.
export const databases = createRouter()
  .route('/', collection)
  .route('/', tests)
  .route('/', inspections)
  .route('/', fixed)
  .route('/', permissions)
  .route('/', one)
