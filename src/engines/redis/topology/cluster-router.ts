import { timedOut } from '../../dial-errors.ts'
import { type Call, untilAborted } from '../../engine.ts'
import type { HostPort } from '../../srv.ts'
import type { BatchCommand } from '../wire/batch.ts'
import { isUnserved, movingSlot, nodeAway, redirectOf } from './cluster-errors.ts'
import type { Nodes } from './cluster-nodes.ts'
import { goesEverywhere, planOf, type Task } from './cluster-plan.ts'
import type { ClusterState } from './cluster-state.ts'
import { createTransactions } from './cluster-transactions.ts'
import type { Commands, Effect, Outcome } from '../commands.ts'
import { placeKey, samePlace } from './places.ts'

/** A task on its way. */
interface Sent extends Task {
  to: HostPort
  asking: boolean
  outcome?: Outcome | undefined
  /** Why the whole exchange failed; `reached` where that was after the connection stood. */
  failure?: { readonly error: unknown; readonly reached: boolean } | undefined
  readonly tried: HostPort[]
}

// A slot that is moved while it is asked for takes two; more is a cluster that is not in order.
const maxRounds = 4

/** Commands that go, each by its first key, to the node that has it; replies come in the order of the batch. */
export function createRouter(cluster: ClusterState, nodes: Nodes): Commands {
  const transactions = createTransactions(cluster, nodes)
  return {
    each,
    async send(call, effect, ...batch) {
      const outcomes = await each(call, effect, ...batch)
      return outcomes.map((outcome) => {
        if ('error' in outcome) throw outcome.error
        return outcome.reply
      })
    },
  }

  async function each(call: Call, effect: Effect, ...batch: readonly BatchCommand[]): Promise<readonly Outcome[]> {
    if (transactions.concerns(batch)) return await transactions.each(call, effect, batch)
    if (batch.some(goesEverywhere)) await refreshed('old', call)
    const plans = batch.map((command) => planOf(command, () => cluster.primaries()))
    const sent = plans.map(({ tasks }) =>
      tasks.map((task): Sent => ({ ...task, to: placeOf(task), asking: false, tried: [] })),
    )
    const all = sent.flat()
    await run(call, effect, all)
    // What ended the only exchange is no command's own error.
    const [one] = all
    if (one?.failure && all.every(({ failure }) => failure?.error === one.failure?.error)) throw explain(one.failure)
    return plans.map(({ merge }, index) => {
      const outcomes = (sent[index] ?? []).map(outcomeOf)
      const failed = outcomes.find((outcome) => 'error' in outcome)
      return failed ?? { reply: merge(outcomes.flatMap((outcome) => ('reply' in outcome ? [outcome.reply] : []))) }
    })
  }

  function placeOf({ slot, place }: Task): HostPort {
    return place ?? (slot === undefined ? cluster.anyPlace(nodes.open()) : cluster.ownerOf(slot))
  }

  function outcomeOf({ outcome, failure, to }: Sent): Outcome {
    if (failure) return { error: explain(failure) as Error }
    if (outcome === undefined || redirectOf(outcome, to)) return { error: movingSlot(undefined) }
    return outcome
  }

  function explain({ error, reached }: NonNullable<Sent['failure']>): unknown {
    return reached || cluster.lost ? error : nodeAway(error)
  }

  async function run(call: Call, effect: Effect, tasks: readonly Sent[]): Promise<void> {
    let waiting = tasks
    for (let round = 1; round <= maxRounds && waiting.length > 0; round++) {
      const groups = Map.groupBy(waiting, ({ to }) => placeKey(to))
      await Promise.all([...groups.values()].map((group) => exchange(call, effect, group)))
      waiting = await misdirected(call, waiting)
    }
  }

  async function exchange(call: Call, effect: Effect, group: readonly Sent[]): Promise<void> {
    const [one] = group
    if (one === undefined) return
    let reached = false
    try {
      const { commands } = await nodes.at(one.to, call)
      reached = true
      const batch = group.flatMap(({ command, asking }) => (asking ? [['asking'] as const, command] : [command]))
      const outcomes = [...(await commands.each(call, effect, ...batch))]
      for (const task of group) {
        if (task.asking) outcomes.shift()
        const outcome = outcomes.shift()
        if (outcome) Object.assign(task, { outcome, failure: undefined })
      }
    } catch (thrown) {
      const isOver = !reached && call.signal.aborted
      const error = isOver ? timedOut('The cluster could not be reached in time.', thrown) : thrown
      for (const task of group)
        Object.assign(task, { outcome: undefined, failure: { error, reached: reached || isOver } })
    }
  }

  // One whose caller has left meets that at its next exchange.
  async function refreshed(reason: 'wrong' | 'old', { signal }: Call): Promise<void> {
    await untilAborted(cluster.refresh(reason), signal).catch(() => undefined)
  }

  /** Directs those anew that met the wrong node, or none. */
  async function misdirected(call: Call, tasks: readonly Sent[]): Promise<readonly Sent[]> {
    const redirects = tasks.map(({ outcome, to }) => redirectOf(outcome, to))
    if (redirects.some((redirect) => redirect?.kind === 'moved') || tasks.some(isAstray)) await refreshed('wrong', call)
    return tasks.filter((task, index) => {
      const redirect = redirects[index]
      if (redirect?.kind === 'moved') cluster.learn(redirect.slot, redirect.place)
      const to = redirect?.place ?? (isAstray(task) ? elsewhere(task) : undefined)
      if (to === undefined) return false
      task.tried.push(task.to)
      Object.assign(task, { to, asking: redirect?.kind === 'ask' })
      return true
    })
  }

  // By the new map, or for a command without a key to whoever was not tried yet.
  function elsewhere(task: Sent): HostPort | undefined {
    if (task.place) return undefined
    const isNew = (place: HostPort) => ![...task.tried, task.to].some((tried) => samePlace(tried, place))
    const candidates = task.slot === undefined ? cluster.places() : [cluster.ownerOf(task.slot)]
    return candidates.find(isNew)
  }
}

/** Whether it ran nowhere, as nobody was reached, or a node that knows of no owner of the slot. */
function isAstray({ failure, outcome }: Sent): boolean {
  return failure?.reached === false || isUnserved(outcome)
}
