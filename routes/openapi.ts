import manifest from '#package' with { type: 'json' }
import type { createRouter } from '#src/http/router.ts'

type Router = ReturnType<typeof createRouter>
export type OpenApiDocument = ReturnType<Router['getOpenAPI31Document']>

/**
 * One document of both routers: Studio's type generator wants `/platform/…` keys under the server `/api`, so root paths carry a server
 * of their own.
 */
export function describeRoutes(platform: Router, operations: Router): OpenApiDocument {
  const meta = {
    openapi: '3.1.0',
    info: {
      title: 'Bun API',
      version: manifest.version,
      description: manifest.description,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/api' }],
    tags: [
      { name: 'databases', description: 'The registry of databases' },
      { name: 'organizations' },
      { name: 'projects' },
      { name: 'redis', description: 'Registered Redis databases' },
      { name: 'postgres', description: 'Registered PostgreSQL databases' },
      { name: 'mongodb', description: 'Registered MongoDB databases' },
      { name: 'bun-api', description: 'Registered Bun API servers' },
      { name: 'operations', description: 'This server itself' },
    ],
  }
  const inner = platform.getOpenAPI31Document(meta)
  const outer = operations.getOpenAPI31Document(meta)
  const rooted = Object.entries(outer.paths ?? {}).map(([path, item]) => [path, { ...item, servers: [{ url: '/' }] }])
  return {
    ...inner,
    paths: sorted({ ...inner.paths, ...Object.fromEntries(rooted) }),
    components: {
      schemas: sorted({ ...inner.components?.schemas, ...outer.components?.schemas }),
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'The service key' },
        apikey: {
          type: 'apiKey',
          in: 'header',
          name: 'apikey',
          description: 'The service key; x-api-key is taken too',
        },
      },
    },
  } as OpenApiDocument
}

function sorted<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
}
