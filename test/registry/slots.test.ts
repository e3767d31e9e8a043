import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { callWithin } from '#src/engines/engine.ts'
import { ApiError } from '#src/errors.ts'
import { Slots } from '#src/registry/slots.ts'

const max = 3
const noRoom = () => undefined
const outcomeOf = (taking: Promise<void>) =>
  taking.then(
    () => 'taken',
    (error: unknown) => (error instanceof ApiError ? error.code : String(error)),
  )

describe('Slots', () => {
  test('hands a slot to who waited longest, and tells nobody to make room before that', async () => {
    const slots = new Slots(1, 5_000)
    const told: string[] = []
    using call = callWithin(5_000)
    await slots.take(call, () => void told.push('first'))
    const order: string[] = []
    const waiting = ['second', 'third'].map(async (name) => {
      await slots.take(call, () => void told.push(name))
      order.push(name)
    })
    slots.give()
    await waiting[0]
    expect([order, told, slots.taken, slots.waiting]).toEqual([['second'], ['second', 'third'], 1, 1])
    slots.give()
    await waiting[1]
    slots.give()
    expect([order, slots.taken, slots.waiting]).toEqual([['second', 'third'], 0, 0])
  })

  test('room made at once is the slot of who asked for it', async () => {
    const slots = new Slots(1, 5_000)
    using call = callWithin(5_000)
    await slots.take(call, noRoom)
    await slots.take(call, () => slots.give())
    expect([slots.taken, slots.waiting]).toEqual([1, 0])
  })

  test('POOL_EXHAUSTED after the wait, at once when the queue is full, and for who has left already', async () => {
    const slots = new Slots(1, 50)
    using call = callWithin(5_000)
    await slots.take(call, noRoom)
    const waiting = [1, 2].map(() => outcomeOf(slots.take(call, noRoom)))
    expect([await outcomeOf(slots.take(call, noRoom)), slots.waiting]).toEqual(['POOL_EXHAUSTED', 2])
    expect([await Promise.all(waiting), slots.waiting]).toEqual([['POOL_EXHAUSTED', 'POOL_EXHAUSTED'], 0])
    slots.give()
    expect([await outcomeOf(slots.take(callWithin(1_000, AbortSignal.abort()), noRoom)), slots.taken]).toEqual([
      'POOL_EXHAUSTED',
      0,
    ])
  })

  test('a wait ends with its call', async () => {
    const slots = new Slots(1, 60_000)
    using call = callWithin(60_000)
    await slots.take(call, noRoom)
    using short = callWithin(20)
    expect([await outcomeOf(slots.take(short, noRoom)), slots.waiting, slots.taken]).toEqual(['POOL_EXHAUSTED', 0, 1])
  })

  test('balance after any order of takes, gives and callers who leave', async () => {
    const step = fc.constantFrom('take', 'take', 'give', 'leave', 'settle', 'give and leave')
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.infiniteStream(fc.nat()), async (steps, picks) => {
        const slots = new Slots(max, 60_000)
        using call = callWithin(60_000)
        let held = 0
        const asking = new Map<AbortController, Promise<string>>()
        const give = () => {
          if (held === 0) return
          held -= 1
          slots.give()
        }
        const leave = () => [...asking.keys()][(picks.next().value ?? 0) % asking.size]?.abort()
        for (const now of steps) {
          if (now === 'take') {
            const leaving = new AbortController()
            const taken = outcomeOf(slots.take(callWithin(60_000, leaving.signal), noRoom)).then((outcome) => {
              if (outcome === 'taken') held += 1
              asking.delete(leaving)
              return outcome
            })
            asking.set(leaving, taken)
          } else if (now === 'settle') await Bun.sleep(0)
          else if (now === 'give') give()
          else if (now === 'leave') leave()
          else {
            give()
            leave()
          }
          if (slots.taken > max || slots.waiting > max * 2) throw new Error('over the cap')
          if (slots.waiting > 0 && slots.taken < max) throw new Error('somebody waits beside a free slot')
        }
        while (asking.size > 0) {
          give()
          for (const leaving of asking.keys()) if (held === 0) leaving.abort()
          await Bun.sleep(0)
        }
        while (held > 0) give()
        expect([slots.taken, slots.waiting, call.signal.aborted]).toEqual([0, 0, false])
      }),
      { numRuns: 200 },
    )
  })
})
