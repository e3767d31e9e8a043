import manifest from '#package' with { type: 'json' }
import type { createRouter } from '#src/http/router.ts'
import { errorExamples, referToExamples } from './error-examples.ts'

type Router = ReturnType<typeof createRouter>
export type OpenApiDocument = ReturnType<Router['getOpenAPI31Document']>

const generalRules =
  'Send the service key, a scoped key or a user’s token as `Authorization: Bearer`, `apikey` or `x-api-key`. Errors have one form; decide by `error.code`, and repeat only what says `retryable`. Beside the errors listed, every route answers 400 to a malformed `Host` header and 405 with `Allow` to another method.'

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
      description: `${manifest.description}.\n\n${generalRules}`,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/api' }],
    tags: [
      { name: 'databases', description: 'The registry of databases' },
      { name: 'organizations', description: 'Owners of projects' },
      { name: 'api-keys', description: 'Scoped keys' },
      { name: 'projects', description: 'Owners of databases' },
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
  const paths = sorted({ ...inner.paths, ...Object.fromEntries(rooted) })
  const named = showErrors(paths)
  return {
    ...inner,
    paths,
    components: {
      schemas: sorted({ ...inner.components?.schemas, ...outer.components?.schemas }),
      examples: errorExamples([...named].sort()),
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'The service key, a scoped key or a token' },
        apikey: {
          type: 'apiKey',
          in: 'header',
          name: 'apikey',
          description: 'The service key or a scoped key; x-api-key is taken too',
        },
      },
    },
  } as OpenApiDocument
}

interface Response {
  readonly description: string
  readonly content?: Readonly<Record<string, { readonly schema?: { readonly $ref?: string }; examples?: unknown }>>
}

interface Operation {
  readonly responses?: Readonly<Record<string, Response>>
}

/** Gives each error response the bodies of its codes; answers the codes. */
function showErrors(paths: Readonly<Record<string, unknown>>): ReadonlySet<string> {
  const named = new Set<string>()
  for (const item of Object.values(paths) as readonly Readonly<Record<string, Operation>>[]) {
    for (const { responses } of Object.values(item)) {
      for (const { description, content } of Object.values(responses ?? {})) {
        const media = content?.['application/json']
        if (media?.schema?.$ref !== '#/components/schemas/Error') continue
        media.examples = referToExamples(description)
        for (const code of Object.keys(referToExamples(description))) named.add(code)
      }
    }
  }
  return named
}

function sorted<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
}
