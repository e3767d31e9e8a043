import { z } from '@hono/zod-openapi'
import { contract, json } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import type { Deps } from '#src/deps.ts'

const Health = z.object({ status: z.literal('ok') }).openapi('Health', { example: { status: 'ok' } })
const Readiness = z
  .object({ status: z.enum(['ok', 'degraded', 'unavailable', 'draining']) })
  .openapi('Readiness', { example: { status: 'ok' } })

const live = contract({
  method: 'get',
  path: '/health',
  operationId: 'HealthController_live',
  tags: ['operations'],
  summary: 'Is the process alive',
  description: 'Asks nothing of any store: a dead database never makes a deployment fail.',
  access: 'open',
  operation: 'read',
  responses: { 200: json(Health, 'It is') },
})

const ready = contract({
  method: 'get',
  path: '/health/ready',
  operationId: 'HealthController_ready',
  tags: ['operations'],
  summary: 'Can the server do its work',
  description:
    'degraded: some registered credentials can not be read with the keys it has, or were never sealed; or the registry does not answer, and reads are served from memory. Registered stores do not count.',
  access: 'open',
  operation: 'read',
  responses: {
    200: json(Readiness, 'ok or degraded'),
    503: json(
      Readiness,
      'unavailable: the registry does not answer, and nothing read from it is in memory; draining: the server is shutting down',
    ),
  },
})

export const health = createRouter()
  .openapi(live, (c) => reply(c, live, 200, { status: 'ok' }))
  .openapi(ready, async (c) => {
    const status = await readiness(c.env.deps)
    return status === 'ok' || status === 'degraded'
      ? reply(c, ready, 200, { status })
      : reply(c, ready, 503, { status })
  })

const asking = new WeakMap<Deps, Promise<'ok' | 'degraded' | 'unavailable'>>()

// Anybody may ask, so however many do cost the registry one statement at a time.
async function readiness(deps: Deps) {
  if (deps.draining) return 'draining'
  const known = asking.get(deps)
  if (known) return known
  const asked = askRegistry(deps).finally(() => asking.delete(deps))
  asking.set(deps, asked)
  return asked
}

async function askRegistry(deps: Deps) {
  try {
    return (await deps.databases.hasUnreadable(deps.keyring.kids)) ? 'degraded' : 'ok'
  } catch (error) {
    deps.log.warn('registry unavailable', {}, error)
    return deps.cached() ? 'degraded' : 'unavailable'
  }
}
