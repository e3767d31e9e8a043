import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { eventually } from './registries.ts'
import { callWithin, type Engine, type Limits, type Session } from '#src/engines/engine.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { ApiError } from '#src/errors.ts'
import { Connections } from '#src/registry/connections.ts'
import type { DatabaseRow } from '#src/registry/database.ts'

/** A promise also where the session is there at once. */
const openFrom = async (...[connections, ...asked]: [Connections, ...Parameters<Connections['open']>]) =>
  connections.open(...asked)

const maxSessions = 3
const databases = 6

/** Sessions that live in this process, so that hundreds of orders can be tried; opening and closing take a few turns of the event loop. */
function createStore() {
  const state = { alive: 0, most: 0, dials: 0, fails: false, hangs: false, turns: 1, closeHangs: false }
  const sessions = new Set<{ lose(): void }>()
  const turns = async () => {
    for (let turn = 0; turn < state.turns; turn++) await Bun.sleep(0)
  }
  const engine: Engine<'redis', Session> = {
    ...redis,
    async connect(_target, _limits, call) {
      state.dials += 1
      state.alive += 1
      state.most = Math.max(state.most, state.alive)
      const { fails, hangs } = state
      const gone = new Promise<void>((resolve) => {
        if (call.signal.aborted) resolve()
        call.signal.addEventListener('abort', () => resolve(), { once: true })
      })
      await (hangs ? gone : turns())
      if (fails || call.signal.aborted) {
        state.alive -= 1
        throw new ApiError('DB_CONNECTION_FAILED', 'It is gone.')
      }
      let closed = false
      let ended = false
      const end = async () => {
        if (ended) throw new Error('closed twice')
        ended = true
        closed = true
        if (state.closeHangs) await new Promise(() => undefined)
        await turns()
        state.alive -= 1
      }
      const session: Session = {
        get closed() {
          return closed
        },
        ping: async () => undefined,
        info: () => Promise.reject(new Error('none')),
        close: end,
        [Symbol.asyncDispose]: end,
      }
      sessions.add({ lose: () => void (closed = true) })
      return session
    },
  }
  return { state, sessions, engine }
}

function createConnections(limits: Partial<Limits> = {}) {
  const store = createStore()
  const versions = new Map<string, number>()
  const row = async (id: string) => {
    await Bun.sleep(0)
    return { id, type: 'redis', version: versions.get(id) ?? 1 } as DatabaseRow
  }
  const connections = new Connections({
    row,
    targets: { describe: async () => ({}) as never, bind: () => ({}) as never },
    limitsOf: () => ({ connectTimeoutMs: 2_000, waitTimeoutMs: 2_000, idleTimeoutMs: 60_000, ...limits }) as Limits,
    maxSessionsOf: () => maxSessions,
    disabled: new Set(),
  })
  const change = (id: string) => {
    versions.set(id, (versions.get(id) ?? 1) + 1)
    connections.drain(id)
  }
  return { ...store, connections, change }
}

const codeOf = (opening: Promise<unknown>) =>
  opening.then(
    () => 'lent',
    (error: unknown) => (error instanceof ApiError ? error.code : String(error)),
  )
const balanceOf = (connections: Connections) => {
  const { opened, closed, live, leased, waiting, draining } = connections.metrics()
  return { missing: opened - closed - live, leased, waiting, draining }
}
const balanced = { missing: 0, leased: 0, waiting: 0, draining: 0 }

describe('sessions', () => {
  test('keep to their cap and balance after any order of opens, returns, changes, losses, failures and leaving callers', async () => {
    const step = fc.record({
      what: fc.constantFrom('open', 'open', 'open', 'return', 'leave', 'change', 'lose', 'fail', 'turn', 'turn'),
      which: fc.nat(databases - 1),
      turns: fc.nat(3),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 50 }), fc.boolean(), async (steps, closesInTheMiddle) => {
        const { connections, engine, state, sessions, change } = createConnections()
        const lent: (Session & { id?: string })[] = []
        const asking = new Map<AbortController, Promise<void>>()
        const open = (id: string) => {
          const leaving = new AbortController()
          const call = callWithin(10_000, leaving.signal)
          const opening = openFrom(connections, engine, id, call).then(
            (session) => void lent.push(session),
            () => undefined,
          )
          asking.set(
            leaving,
            opening.finally(() => {
              call[Symbol.dispose]()
              asking.delete(leaving)
            }),
          )
        }
        const pick = <T>(all: Iterable<T>, which: number) => [...all][which % Math.max(1, [...all].length)]
        for (const { what, which, turns } of steps) {
          const id = `db-${which}`
          state.turns = turns
          if (what === 'open') open(id)
          else if (what === 'return') await lent.splice(which % Math.max(1, lent.length), 1)[0]?.[Symbol.asyncDispose]()
          else if (what === 'leave') pick(asking.keys(), which)?.abort()
          else if (what === 'change') change(id)
          else if (what === 'lose') pick(sessions, which)?.lose()
          else if (what === 'fail') state.fails = !state.fails
          else await Bun.sleep(0)
          const { opened, closed, live } = connections.metrics()
          if (opened - closed !== live) throw new Error('the figures do not add up')
        }
        const closing = closesInTheMiddle ? connections.close() : undefined
        for (const leaving of asking.keys()) leaving.abort()
        await Promise.all(asking.values())
        await Promise.all(lent.map((session) => session[Symbol.asyncDispose]()))
        await closing
        await eventually(() => String(Object.values(balanceOf(connections))) === '0,0,0,0', 1_000)
        state.fails = false
        if (!closesInTheMiddle) {
          // No slot was lost: as many new databases as may live, at once.
          using call = callWithin(1_500)
          const fresh = Array.from({ length: maxSessions }, (_, index) =>
            openFrom(connections, engine, `new-${index}`, call),
          )
          await Promise.all((await Promise.all(fresh)).map((session) => session[Symbol.asyncDispose]()))
          await connections.close()
        }
        expect([balanceOf(connections), connections.size, state.alive, state.most <= maxSessions]).toEqual([
          balanced,
          0,
          0,
          true,
        ])
      }),
      { numRuns: process.env['TEST_FULL'] === '1' ? 2_000 : 150 },
    )
  }, 120_000)

  test('a change while it connects: who asked gets it, who asks next gets the new one', async () => {
    const { connections, engine, state, change } = createConnections()
    using call = callWithin(5_000)
    state.turns = 5
    const first = openFrom(connections, engine, 'a', call)
    await eventually(() => state.dials === 1)
    change('a')
    const second = openFrom(connections, engine, 'a', call)
    const [one, two] = await Promise.all([first, second])
    expect([state.dials, state.alive]).toEqual([2, 2])
    await one[Symbol.asyncDispose]()
    await eventually(() => state.alive === 1)
    expect([one.closed, two.closed]).toEqual([true, false])
    await two[Symbol.asyncDispose]()
    await connections.close()
    expect([state.alive, balanceOf(connections)]).toEqual([0, balanced])
  })

  test('closing ends what is lent, what connects and what waits, and opens nothing more', async () => {
    const { connections, engine, state } = createConnections()
    using call = callWithin(5_000)
    const [lent] = await Promise.all([
      openFrom(connections, engine, 'a', call),
      openFrom(connections, engine, 'b', call),
    ])
    state.hangs = true
    const others = ['c', 'd', 'e'].map((id) => codeOf(openFrom(connections, engine, id, call)))
    await eventually(() => connections.metrics().waiting === 2)
    await connections.close()
    expect(await Promise.all(others)).toEqual(['DB_CONNECTION_FAILED', 'POOL_EXHAUSTED', 'POOL_EXHAUSTED'])
    await lent[Symbol.asyncDispose]()
    await lent[Symbol.asyncDispose]()
    expect([state.alive, connections.size, await codeOf(openFrom(connections, engine, 'f', call))]).toEqual([
      0,
      0,
      'DB_CONNECTION_FAILED',
    ])
  })

  test('a lease that is returned twice counts once', async () => {
    const { connections, engine } = createConnections()
    using call = callWithin(5_000)
    const [one, two] = [await openFrom(connections, engine, 'a', call), await openFrom(connections, engine, 'a', call)]
    await one[Symbol.asyncDispose]()
    await one[Symbol.asyncDispose]()
    expect(connections.metrics().leased).toBe(1)
    await two[Symbol.asyncDispose]()
    expect(connections.metrics().leased).toBe(0)
    await connections.close()
  })

  test('a connection everybody left is not held against the store', async () => {
    const { connections, engine, state, change } = createConnections()
    state.hangs = true
    using short = callWithin(50)
    expect(await codeOf(openFrom(connections, engine, 'a', short))).toBe('DB_TIMEOUT')
    change('a')
    state.hangs = false
    using call = callWithin(2_000)
    const session = await openFrom(connections, engine, 'a', call)
    await session[Symbol.asyncDispose]()
    expect(connections.metrics()).toMatchObject({ failed: 0, live: 1 })
    await connections.close()
  })

  test('a session that does not say goodbye gives its slot back after five seconds', async () => {
    const { connections, engine, state } = createConnections({ waitTimeoutMs: 7_000 })
    using call = callWithin(10_000)
    state.closeHangs = true
    for (const id of ['a', 'b', 'c']) await (await openFrom(connections, engine, id, call))[Symbol.asyncDispose]()
    const started = performance.now()
    const fourth = await openFrom(connections, engine, 'd', call)
    expect(Math.round((performance.now() - started) / 1_000)).toBe(5)
    await fourth[Symbol.asyncDispose]()
    state.closeHangs = false
    await connections.close()
  }, 15_000)
})
