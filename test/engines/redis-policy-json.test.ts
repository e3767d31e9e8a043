import { expect, test } from 'bun:test'
import fc from 'fast-check'
import type { Outcome } from '#src/engines/redis/commands.ts'
import { translate } from '#src/engines/redis/errors.ts'
import { jsonSize } from '#src/engines/redis/run/json-size.ts'
import { resultsOf } from '#src/engines/redis/run/reply-json.ts'
import { fromBytes } from '#src/engines/redis/values.ts'
import type { Reply } from '#src/engines/redis/wire/batch.ts'
import { codeOf } from '#src/errors.ts'

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 24 }).map((data) => Buffer.from(data)),
  fc.uint8Array({ maxLength: 24, max: 0x7f }).map((data) => Buffer.from(data)),
  fc.string({ unit: 'binary', maxLength: 12 }).map((text) => Buffer.from(text)),
)
const encoding = fc.constantFrom('utf8' as const, 'base64' as const)
const refusal = fc.constant(Object.assign(new Error('ERR something'), { name: 'ReplyError' }))

test('the size of bytes in JSON is what JSON.stringify makes of them', () => {
  fc.assert(
    fc.property(bytes, encoding, (given, form) => {
      expect(jsonSize(given, form)).toBe(Buffer.byteLength(JSON.stringify(fromBytes(given, form))))
    }),
    { numRuns: 2_000 },
  )
})

test('results are refused just where their JSON is longer than the cap', () => {
  const integer = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)
  const { reply } = fc.letrec<{ reply: Reply }>((tie) => ({
    reply: fc.oneof(
      { maxDepth: 3 },
      bytes,
      integer,
      fc.constant(null),
      refusal,
      fc.array(tie('reply'), { maxLength: 4 }),
    ),
  }))
  const outcome = fc.oneof(
    reply.map((given): Outcome => ({ reply: given })),
    refusal.map((error): Outcome => ({ error: translate(error) })),
  )
  const parts = (json: unknown): number =>
    Array.isArray(json) ? json.reduce((sum: number, item) => sum + parts(item), 1) : 1
  fc.assert(
    fc.property(fc.array(outcome, { maxLength: 5 }), encoding, (outcomes, form) => {
      const results = resultsOf(outcomes, form, Number.POSITIVE_INFINITY, false)
      const size = Buffer.byteLength(JSON.stringify({ results }))
      const code = (max: number) => {
        try {
          return resultsOf(outcomes, form, max, false).length
        } catch (error) {
          return codeOf(error)
        }
      }
      if (outcomes.length > 0) expect(code(size - 1)).toBe('RESULT_TOO_LARGE')
      // A comma is counted for each part.
      const commas = results.reduce((sum, one) => sum + 1 + ('result' in one ? parts(one.result) : 1), 0)
      expect(code(size + commas)).toBe(outcomes.length)
    }),
    { numRuns: 500 },
  )
})
