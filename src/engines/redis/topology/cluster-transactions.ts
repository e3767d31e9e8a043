import { type Call, untilAborted } from '../../engine.ts'
import type { HostPort } from '../../srv.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Channel } from '../wire/channel.ts'
import { crossSlot, isUnserved, movingSlot, nodeAway, type Redirect, redirectOf } from './cluster-errors.ts'
import type { Nodes } from './cluster-nodes.ts'
import { slotOf } from './cluster-slots.ts'
import type { ClusterState } from './cluster-state.ts'
import type { Effect, Outcome } from '../commands.ts'

/** WATCH and MULTI on a link to a cluster: all keys in one slot, so that one node's connection has it all. */
export interface Transactions {
  concerns(batch: readonly BatchCommand[]): boolean
  /** Throws `DB_UNSUPPORTED` where the keys stand in several slots, also in other ones than are watched. */
  each(call: Call, effect: Effect, batch: readonly BatchCommand[]): Promise<readonly Outcome[]>
}

const ending: ReadonlySet<string> = new Set(['discard', 'exec', 'unwatch'])

export function createTransactions(cluster: ClusterState, nodes: Nodes): Transactions {
  let watched: { readonly slot: number; readonly channel: Channel } | undefined
  return {
    concerns: (batch) => batch.some(([name]) => name === 'multi' || name === 'watch' || ending.has(name)),
    each: (call, effect, batch) =>
      batch.every(([name]) => name === 'discard' || name === 'unwatch')
        ? endAll(call, effect, batch)
        : inOneSlot(call, effect, batch),
  }

  async function endAll(call: Call, effect: Effect, batch: readonly BatchCommand[]): Promise<readonly Outcome[]> {
    watched = undefined
    const ended = await Promise.all(
      nodes.open().map(async (place) => (await nodes.at(place, call)).commands.each(call, effect, ...batch)),
    )
    return ended[0] ?? batch.map((): Outcome => ({ reply: Buffer.from('OK') }))
  }

  async function inOneSlot(call: Call, effect: Effect, batch: readonly BatchCommand[]): Promise<readonly Outcome[]> {
    const slots = new Set(batch.flatMap((command) => slotOf(command) ?? []))
    const [slot = watched?.slot] = slots
    if (slots.size > 1 || (watched && slot !== watched.slot)) throw crossSlot()
    let place = slot === undefined ? cluster.anyPlace(nodes.open()) : cluster.ownerOf(slot)
    for (let attempt = 1; ; attempt++) {
      const channel = watched?.channel ?? (await reach(place, call))
      const outcomes = await channel.commands.each(call, effect, ...batch)
      const redirect = redirectIn(outcomes, place)
      if (redirect === undefined) {
        if (outcomes.some(isUnserved)) void cluster.refresh('wrong')
        note(batch, outcomes, slot, channel)
        return outcomes
      }
      // A node that sends one command away runs none of the transaction.
      const isWhole = batch[0]?.[0] === 'multi' || batch.every(([name]) => name === 'watch')
      if (attempt > 1 || watched || !isWhole || redirect.kind === 'ask') throw movingSlot(undefined)
      await untilAborted(cluster.refresh('wrong'), call.signal)
      cluster.learn(redirect.slot, redirect.place)
      place = redirect.place
    }
  }

  function reach(place: HostPort, call: Call): Promise<Channel> {
    return nodes.at(place, call).catch((error: unknown) => {
      void cluster.refresh('wrong')
      throw nodeAway(error)
    })
  }

  function note(
    batch: readonly BatchCommand[],
    outcomes: readonly Outcome[],
    slot: number | undefined,
    channel: Channel,
  ): void {
    for (const [index, [name]] of batch.entries()) {
      const outcome = outcomes[index]
      if (ending.has(name)) watched = undefined
      else if (name === 'watch' && outcome && 'reply' in outcome && slot !== undefined) watched = { slot, channel }
    }
  }
}

function redirectIn(outcomes: readonly Outcome[], from: HostPort): Redirect | undefined {
  return outcomes.map((outcome) => redirectOf(outcome, from)).find((redirect) => redirect !== undefined)
}
