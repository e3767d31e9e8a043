import { z } from '@hono/zod-openapi'
import manifest from '#package' with { type: 'json' }
import { engines } from '#src/engines/index.ts'
import { contract, failures, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'

const show = contract({
  method: 'get',
  path: '/info',
  operationId: 'InfoController_get',
  tags: ['operations'],
  summary: 'What this server is',
  description: 'Name, version, engines and the limits in force.',
  access: 'admin',
  operation: 'read',
  responses: {
    200: json(
      z
        .object({
          name: z.string(),
          version: z.string(),
          runtime: z.string(),
          mode: z.enum(['embedded', 'production']),
          uptime_seconds: z.number().int(),
          engines: z.array(z.object({ type: z.string(), label: z.string() })),
          connections: z.record(z.string(), z.number()).openapi({ description: 'Sessions to registered databases' }),
          limits: z.record(z.string(), z.number()),
        })
        .openapi('ServerDescription', {
          example: {
            name: 'bun-api',
            version: '0.1.0',
            runtime: 'bun 1.4.5',
            mode: 'production',
            uptime_seconds: 86400,
            engines: [{ type: 'redis', label: 'Redis' }],
            connections: { live: 2, leased: 0 },
            limits: { MAX_URL_BYTES: 8192 },
          },
        }),
      'The description',
    ),
    ...failures(),
  },
})

// Numbers only: nothing that holds a secret is one.
const limitNames =
  /^(CACHE_TTL$|MAX_|PROBE_|REQUEST_|QUERY_|CONNECT_|REDIS_MAX|REDIS_COMMAND|MONGODB_MAX|POSTGRES_|REGISTRY_|POOL_|RATE_|SHUTDOWN_)/

export const info = createRouter().openapi(show, (c) => {
  const { config, connections, startedAt } = c.env.deps
  const limits = Object.entries(config).flatMap(([name, value]) =>
    limitNames.test(name) && typeof value === 'number' ? [[name, value] as const] : [],
  )
  return reply(c, show, 200, {
    name: manifest.name,
    version: manifest.version,
    runtime: `bun ${Bun.version}`,
    mode: config.mode,
    uptime_seconds: Math.floor((Date.now() - startedAt) / 1000),
    engines: Object.values(engines).map(({ kind, label }) => ({ type: kind, label })),
    connections: { ...connections.metrics() },
    limits: Object.fromEntries(limits),
  })
})
