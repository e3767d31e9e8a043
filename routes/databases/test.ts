import type { ProbeReport as Report } from '#src/engines/probe.ts'
import { body, contract, databaseFailures, failures, json, reply } from '#src/http/contract.ts'
import { createRouter } from '#src/http/router.ts'
import { DatabaseParams, ProbeReport, TestDatabase } from './schemas.ts'

const testUnsaved = contract({
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
    const { type, config, ...connection } = c.req.valid('json')
    const report = await c.var.deps.registry.testUnsaved(type, connection, config ?? {}, c.var.call.signal)
    return reply(c, testUnsaved, 200, toWire(report))
  })
  .openapi(testSaved, async (c) => {
    const { id } = c.req.valid('param')
    c.set('databaseId', id)
    return reply(c, testSaved, 200, toWire(await c.var.deps.registry.testSaved(id, c.var.call.signal)))
  })

function toWire({ error, ...report }: Report) {
  const { code, message, retryable, details } = error ?? {}
  return {
    ...report,
    stages: [...report.stages],
    warnings: [...report.warnings],
    ...(code === undefined ? {} : { error: { code, message: message ?? '', retryable: retryable ?? false, details } }),
  }
}
