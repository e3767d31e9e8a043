import { createRouter } from '#src/http/router.ts'
import { docsAssets, serveAsset } from '#src/http/static/assets.ts'
import { apiKeys } from './api-keys.ts'
import { bunApi } from './bun-api/index.ts'
import { databases } from './databases/index.ts'
import { docsPage, docsPolicy } from './docs-page.ts'
import { health } from './health.ts'
import { info } from './info.ts'
import { describeRoutes, type OpenApiDocument } from './openapi.ts'
import { mongodb } from './mongodb/index.ts'
import { organizations } from './organizations.ts'
import { postgres } from './postgres/index.ts'
import { projectPermissions } from './project-permissions.ts'
import { projects } from './projects.ts'
import { redis } from './redis/index.ts'

/** Everything under `/api`, chained: the chain carries the types. */
export const platform = createRouter()
  .route('/platform/databases', databases)
  .route('/platform/organizations', organizations)
  .route('/platform/projects', projects)
  .route('/platform/projects', projectPermissions)
  .route('/platform/api-keys', apiKeys)
  .route('/platform/redis', redis)
  .route('/platform/postgres', postgres)
  .route('/platform/mongodb', mongodb)
  .route('/platform/bun-api', bunApi)

/** The routes at the root. */
export const operations = createRouter().route('/', health).route('/', info)

let document: OpenApiDocument | undefined

/** The OpenAPI document, built once. */
export function openApiDocument(): OpenApiDocument {
  document ??= describeRoutes(platform, operations)
  return document
}

/** The document, the page made of it and what the page loads; none is in the document. */
export const documentation = createRouter()
documentation.get('/openapi.json', (c) => c.json(openApiDocument()))
documentation.get('/docs', (c) => {
  c.header('content-security-policy', docsPolicy)
  return c.html(docsPage(openApiDocument()))
})
for (const [path, asset] of docsAssets) documentation.get(path, (c) => serveAsset(c, asset))
