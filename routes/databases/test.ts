import { grantsOf, requireRole } from '#src/access/authorize.ts'
import type { RequestState } from '#src/http/request-state.ts'
import { databaseNotFound } from '#src/registry/connections.ts'
import type { ProbeReport as Report } from '#src/engines/probe.ts'
import { body, contract, databaseFailures, failures, json, scoped } from '#src/http/contract.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { DatabaseParams, ProbeReport, TestDatabase } from './schemas.ts'

const testUnsaved = contract({
  [scoped]: true,
  method: 'post',
  path: '/test',
  operationId: 'DatabasesController_testUnsaved',
  tags: ['databases'],
  summary: 'Test a connection without saving it',
  description:
    'Answers 200 for every valid input, also when the target is refused or does not answer: `ok` and the stages say how far it came.',
  access: 'admin',
  operation: 'connect',
  request: { body: body(TestDatabase) },
  responses: {
    200: json(ProbeReport, 'What the test found'),
    ...failures('VALIDATION_FAILED', 'FEATURE_DISABLED', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'),
  },
})

const testSaved = contract({
  method: 'post',
  path: '/{id}/test',
  operationId: 'DatabasesController_testSaved',
  tags: ['databases'],
  summary: 'Test a registered connection',
  description: 'Over a short connection of its own. The row notes the outcome in status and last_connected_at.',
  access: 'write',
  operation: 'connect',
  request: { params: DatabaseParams },
  responses: { 200: json(ProbeReport, 'What the test found'), ...failures(...databaseFailures) },
})

export const tests = createRouter()
  .openapi(testUnsaved, async (c) => {
    await requireAdminSomewhere(c.env)
    const { type, config, ...connection } = c.req.valid('json')
    const report = await c.env.deps.registry.testUnsaved(type, connection, config ?? {}, c.env.call.signal)
    return reply(c, testUnsaved, 200, toWire(report))
  })
  .openapi(testSaved, async (c) => {
    const { id } = c.req.valid('param')
    c.env.databaseId = id
    return reply(c, testSaved, 200, toWire(await c.env.deps.registry.testSaved(id, c.env.call.signal)))
  })

// What is not saved belongs to no project: whoever may register somewhere may try.
async function requireAdminSomewhere(state: RequestState): Promise<void> {
  if (state.principal.kind !== 'user') return
  const grants = await grantsOf(state)
  const held = [...(grants?.projects.values() ?? [])]
  requireRole(held.find((role) => role === 'admin') ?? 'read', 'admin', databaseNotFound)
}

function toWire({ error, ...report }: Report) {
  const { code, message, retryable, details } = error ?? {}
  return {
    ...report,
    stages: [...report.stages],
    warnings: [...report.warnings],
    ...(code === undefined ? {} : { error: { code, message: message ?? '', retryable: retryable ?? false, details } }),
  }
}
