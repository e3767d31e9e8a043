import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { ApiError } from '#src/errors.ts'
import { Breaker } from '#src/registry/breaker.ts'

const failure = () => new ApiError('DB_CONNECTION_FAILED', 'down')

/** A breaker and its clock; `draw` is what its jitter draws. */
function timed(draw = () => 0) {
  let now = 1_000_000
  const breaker = new Breaker({ now: () => now, random: draw })
  return {
    breaker,
    later: (ms: number) => void (now += ms),
    fail: (times: number) => {
      for (let count = 0; count < times; count++) breaker.failed(failure())
    },
    /** What a request meets: the answer, or that it goes on to the store. */
    ask: (): unknown => {
      try {
        return breaker.admit(now + 10_000) ? 'tries' : 'passes'
      } catch (error) {
        return error instanceof ApiError ? [error.code, error.headers['retry-after']] : error
      }
    },
  }
}

describe('a circuit breaker', () => {
  test('opens at the fifth failure in a row, for 5 s', () => {
    const { breaker, fail, ask, later } = timed()
    const seen: unknown[] = []
    fail(4)
    seen.push(ask())
    breaker.answered()
    fail(4)
    seen.push(ask())
    fail(1)
    seen.push(ask())
    later(3_200)
    seen.push(ask())
    later(1_799)
    seen.push(ask())
    later(1)
    seen.push(ask())
    expect(seen).toEqual([
      'passes',
      'passes',
      ['DB_UNAVAILABLE', '5'],
      ['DB_UNAVAILABLE', '2'],
      ['DB_UNAVAILABLE', '1'],
      'tries',
    ])
  })

  test('opens when half of 20 outcomes within 10 s failed, and neither for fewer nor for older ones', () => {
    const alternating = (outcomes: number, apartMs: number) => {
      const { breaker, fail, later } = timed()
      for (let count = 0; count < outcomes; count++) {
        later(apartMs)
        if (count % 2 === 0) fail(1)
        else breaker.answered()
      }
      return breaker.state
    }
    expect([alternating(19, 100), alternating(20, 100), alternating(21, 100), alternating(200, 600)]).toEqual([
      'closed',
      'closed',
      'open',
      'closed',
    ])
  })

  test('one request tries and the others are refused; its success closes, its failure opens for twice as long, up to 60 s', () => {
    const { breaker, fail, ask, later } = timed()
    fail(5)
    const openFor: number[] = []
    for (let round = 0; round < 6; round++) {
      openFor.push(breaker.report.retry_in_ms)
      later(breaker.report.retry_in_ms)
      expect([ask(), ask(), breaker.state]).toEqual(['tries', ['DB_UNAVAILABLE', '1'], 'half_open'])
      breaker.failed(failure(), { trying: true })
    }
    expect(openFor).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000])
    later(60_000)
    expect(ask()).toBe('tries')
    breaker.tried()
    expect([breaker.state, ask(), breaker.pristine]).toEqual(['closed', 'passes', true])
    fail(5)
    expect(breaker.report).toEqual({ state: 'open', retry_in_ms: 5_000, last_code: 'DB_CONNECTION_FAILED' })
  })

  test('a refused password opens it at once for 60 s, and is what callers are told meanwhile', () => {
    const { breaker, ask, later } = timed()
    breaker.failed(new ApiError('DB_INVALID_CREDENTIALS', 'refused'), { forLong: true })
    later(59_999)
    const refused = ask()
    later(1)
    expect([refused, ask()]).toEqual([['DB_INVALID_CREDENTIALS', undefined], 'tries'])
  })

  test('the next request tries when the one that tried left, or never came back', () => {
    const { breaker, fail, ask, later } = timed()
    fail(5)
    later(5_000)
    const seen = [ask(), ask()]
    breaker.abandoned()
    seen.push(ask(), ask())
    later(10_000)
    seen.push(ask())
    const refused = ['DB_UNAVAILABLE', '1']
    expect(seen).toEqual(['tries', refused, 'tries', refused, 'tries'])
  })

  test('one failure that many callers were told of is one', () => {
    const { breaker } = timed()
    const told = failure()
    for (let count = 0; count < 100; count++) breaker.failed(told)
    expect(breaker.state).toBe('closed')
  })

  test('what began before it opened neither opens it for longer nor closes it', () => {
    const { breaker, fail, later, ask } = timed()
    fail(5)
    later(4_000)
    fail(20)
    breaker.answered()
    const before = breaker.report.retry_in_ms
    later(1_000)
    const tries = ask()
    fail(20)
    breaker.answered()
    expect([before, tries, breaker.state]).toEqual([1_000, 'tries', 'half_open'])
  })

  test('the jitter takes up to a fifth off, and never adds', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (drawn) => {
        const { breaker, fail } = timed(() => drawn)
        fail(5)
        expect(breaker.report.retry_in_ms).toBeWithin(4_000, 5_001)
      }),
    )
  })

  test('whatever happens: it is open only after failures, lets one at a time try, and is found closed by any success of that one', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constantFrom('fails', 'answers', 'leaves', 'refuses') }),
      fc.record({ kind: fc.constant('waits'), ms: fc.integer({ min: 1, max: 70_000 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { breaker, ask, later } = timed(() => 0.5)
        let failures = 0
        let trying = false
        let waited = 0
        for (const made of steps) {
          if (made.kind === 'waits') {
            const { ms } = made as { readonly ms: number }
            later(ms)
            waited += ms
            continue
          }
          const met = ask()
          if (Array.isArray(met)) {
            expect(failures).toBeGreaterThan(0)
            expect(breaker.state).not.toBe('closed')
            continue
          }
          if (met === 'tries') {
            if (trying) expect(waited).toBeGreaterThanOrEqual(10_000)
            trying = true
            waited = 0
          }
          // Every second try is never heard of again.
          if (trying && made.kind === 'leaves' && failures % 2 === 0) continue
          if (made.kind === 'fails' || made.kind === 'refuses') {
            failures += 1
            breaker.failed(failure(), { trying, forLong: made.kind === 'refuses' })
            if (trying) expect(breaker.state).toBe('open')
          } else if (made.kind === 'leaves') {
            if (trying) breaker.abandoned()
          } else if (trying) {
            breaker.tried()
            expect(ask()).toBe('passes')
            failures = 0
          } else breaker.answered()
          trying = false
        }
      }),
    )
  })

  test('an answer to a healthy one costs next to nothing', () => {
    const breaker = new Breaker()
    const began = performance.now()
    for (let count = 0; count < 1_000_000; count++) {
      breaker.admit(0)
      breaker.answered()
    }
    const nanoseconds = performance.now() - began
    console.log(`closed breaker: ${nanoseconds.toFixed(1)} ns for each request`)
    expect(nanoseconds).toBeLessThan(1_000)
  })

  test('a refusal takes less than a millisecond', () => {
    const { fail, ask } = timed()
    fail(5)
    const began = performance.now()
    for (let count = 0; count < 1_000; count++) ask()
    const each = (performance.now() - began) / 1_000
    console.log(`refusal: ${(each * 1_000).toFixed(1)} µs`)
    expect(each).toBeLessThan(1)
  })
})
