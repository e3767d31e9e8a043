import { describe, expect, test } from 'bun:test'
import { ApiError } from '#src/errors.ts'
import { createLoad } from '#src/http/load.ts'

function refusalOf(run: () => void) {
  try {
    run()
  } catch (error) {
    if (error instanceof ApiError) return { code: error.code, status: error.status, headers: error.headers }
    throw error
  }
  return undefined
}
const overloaded = { code: 'OVERLOADED', status: 503, headers: { 'retry-after': '1' } } as const

describe('requests at work', () => {
  test('503 OVERLOADED above the cap of the process, until one leaves', () => {
    const load = createLoad({ maxInFlight: 2, maxPerDatabase: 2, maxStreams: 2, maxStreamsPerDatabase: 1 })
    load.enter()
    load.enter()
    expect(refusalOf(() => load.enter())).toEqual(overloaded)
    expect(load.inFlight).toBe(2)
    load.leave()
    expect(refusalOf(() => load.enter())).toBeUndefined()
  })

  test('503 OVERLOADED above the cap of one database, while the others have theirs', () => {
    const load = createLoad({ maxInFlight: 9, maxPerDatabase: 2, maxStreams: 2, maxStreamsPerDatabase: 1 })
    load.enterDatabase('hot')
    load.enterDatabase('hot')
    expect(refusalOf(() => load.enterDatabase('hot'))).toEqual(overloaded)
    expect(refusalOf(() => load.enterDatabase('cold'))).toBeUndefined()
    load.leaveDatabase('hot')
    expect(refusalOf(() => load.enterDatabase('hot'))).toBeUndefined()
  })

  test('a refused request is not counted, and a database nobody uses is not kept', () => {
    const load = createLoad({ maxInFlight: 1, maxPerDatabase: 1, maxStreams: 2, maxStreamsPerDatabase: 1 })
    load.enter()
    load.enterDatabase('one')
    for (let refused = 0; refused < 3; refused++) {
      refusalOf(() => load.enter())
      refusalOf(() => load.enterDatabase('one'))
    }
    load.leave()
    load.leaveDatabase('one')
    expect({ inFlight: load.inFlight, busyDatabases: load.busyDatabases }).toEqual({ inFlight: 0, busyDatabases: 0 })
  })

  test('streams have a cap of their own, in all and by database', () => {
    const load = createLoad({ maxInFlight: 1, maxPerDatabase: 1, maxStreams: 2, maxStreamsPerDatabase: 1 })
    load.enterStream('one')
    expect(() => load.enterStream('one')).toThrow('As many streams')
    load.enterStream('two')
    expect(() => load.enterStream('three')).toThrow('As many streams')
    load.leaveStream('two')
    load.enterStream('three')
    expect(load.inFlight).toBe(0)
  })
})
