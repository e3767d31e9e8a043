import type { Call, Limits } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Lanes } from '../commands.ts'
import { throwFailure } from './modules.ts'
import type { Position } from './set-pages.ts'
import { bytesIn, listIn, pairsIn, textIn } from '../replies.ts'
import { entriesIn, neighbourOf, serverCode, type StreamEntry } from './stream-entries.ts'
import { type ConsumerName, type GroupName, noSuchGroup, refuseNoGroup } from './stream-groups.ts'
import { known } from './streams.ts'
import { type Encoding, fromBytes, type RedisValue, toArgument } from '../values.ts'

export interface PendingRequest extends GroupName {
  readonly consumer?: RedisValue | undefined
  readonly start: string
  readonly end: string
  /** Only what was delivered so long ago. */
  readonly minIdleMs?: number | undefined
  readonly count: number
  readonly position: Position
  readonly encoding: Encoding
}

export interface PendingEntry {
  readonly id: string
  readonly consumer: RedisValue
  /** Since it was last delivered. */
  readonly idle_ms: number
  readonly deliveries: number
}

export interface PendingPage {
  readonly data: readonly PendingEntry[]
  /** Of the whole group. */
  readonly summary: PendingSummary
  readonly next: Position | null
}

export interface PendingSummary {
  readonly pending: number
  readonly first_id: string | null
  readonly last_id: string | null
  /** Those with something pending, 1,000 at the most. */
  readonly consumers: readonly { readonly consumer: RedisValue; readonly pending: number }[]
}

export interface ReadRequest extends ConsumerName {
  /** `>` is what nobody was given yet; an id is what this consumer was given after it and has not acknowledged. */
  readonly id: string
  readonly count: number
  readonly noAck?: boolean | undefined
}

export interface ClaimRequest extends ConsumerName {
  readonly ids: readonly string[]
  readonly minIdleMs: number
  readonly idleMs?: number | undefined
  readonly deliveries?: number | undefined
  readonly force?: boolean | undefined
  readonly justId?: boolean | undefined
}

export interface AutoclaimRequest extends ConsumerName {
  readonly minIdleMs: number
  readonly start: string
  readonly count: number
  readonly justId?: boolean | undefined
}

export interface Autoclaimed {
  readonly data: readonly StreamEntry[]
  /** Where the next one goes on; `null` at the end. */
  readonly next_start: string | null
  /** Entries that are deleted and not pending any more; empty before Redis 7. */
  readonly deleted_ids: readonly string[]
}

/** What consumers of a group are given and have not acknowledged. An absent key or group is `NOT_FOUND`. */
export interface PendingEntries {
  page(request: PendingRequest, call: Call): Promise<PendingPage>
  /** Gives a consumer entries, which are pending from now on; never waits for any. */
  read(request: ReadRequest, encoding: Encoding, call: Call): Promise<readonly StreamEntry[]>
  /** How many were pending. */
  acknowledge(group: GroupName, ids: readonly string[], call: Call): Promise<number>
  /** Gives a consumer what others have left pending; `fields` is `null` with `justId`. */
  claim(request: ClaimRequest, encoding: Encoding, call: Call): Promise<readonly StreamEntry[]>
  autoclaim(request: AutoclaimRequest, encoding: Encoding, call: Call): Promise<Autoclaimed>
}

export function createPendingEntries({ shared, alone }: Lanes, { maxValueBytes }: Limits): PendingEntries {
  return {
    async page({ key, group, consumer, start, end, minIdleMs, count, position, encoding }, call) {
      const [name, of] = [toArgument(key), toArgument(group)]
      const idle = minIdleMs === undefined ? [] : ['IDLE', String(minIdleMs)]
      const from = position[0] === undefined ? start : neighbourOf(position[0], false)
      const owner = consumer === undefined ? [] : [toArgument(consumer)]
      const list = ['xpending', name, of, ...idle, from, end, String(count + 1), ...owner] as const
      const [summary, reply] = await alone(call, (commands) =>
        commands.send(call, 'reads', ['xpending', name, of], list).catch(refuseNoGroup),
      )
      const found = listIn(reply).map(listIn)
      const data = found.slice(0, count).map(([id, by, idleMs, deliveries]) => ({
        id: textIn(id),
        consumer: fromBytes(bytesIn(by), encoding),
        idle_ms: Number(idleMs),
        deliveries: Number(deliveries),
      }))
      return {
        data,
        summary: summaryIn(summary, encoding),
        next: found.length > count ? data.slice(-1).map(({ id }) => id) : null,
      }
    },
    async read({ key, group, consumer, id, count, noAck }, encoding, call) {
      const by = ['GROUP', toArgument(group), toArgument(consumer)] as const
      const options = ['COUNT', String(count), ...(noAck ? ['NOACK'] : [])]
      const command = ['xreadgroup', ...by, ...options, 'STREAMS', toArgument(key), id] as const
      const [reply] = await alone(call, (commands) => commands.send(call, 'writes', command).catch(refuseNoGroup))
      if (reply === null) return []
      const [stream] = listIn(reply)
      const [, entries] = listIn(stream)
      return entriesIn(entries, maxValueBytes, encoding)
    },
    async acknowledge({ key, group }, ids, call) {
      const [count] = await shared.send(call, 'writes', ['xack', toArgument(key), toArgument(group), ...ids])
      return Number(count)
    },
    async claim({ key, group, consumer, ids, minIdleMs, idleMs, deliveries, force, justId }, encoding, call) {
      const names = [toArgument(key), toArgument(group), toArgument(consumer)] as const
      const options = [
        ...(idleMs === undefined ? [] : ['IDLE', String(idleMs)]),
        ...(deliveries === undefined ? [] : ['RETRYCOUNT', String(deliveries)]),
        ...(force ? ['FORCE'] : []),
        ...(justId ? ['JUSTID'] : []),
      ]
      const command = ['xclaim', ...names, String(minIdleMs), ...ids, ...options] as const
      const [reply] = await alone(call, (commands) => commands.send(call, 'writes', command).catch(refuseNoGroup))
      return justId ? listIn(reply).map(idAlone) : entriesIn(reply, maxValueBytes, encoding)
    },
    async autoclaim({ key, group, consumer, minIdleMs, start, count, justId }, encoding, call) {
      const names = [toArgument(key), toArgument(group), toArgument(consumer)] as const
      const options = ['COUNT', String(count), ...(justId ? ['JUSTID'] : [])]
      const command = ['xautoclaim', ...names, String(minIdleMs), start, ...options] as const
      const [reply] = await alone(call, (commands) =>
        commands.send(call, 'writes', command).catch((error: Error) => {
          if (serverCode(error) === 'NOGROUP') throw noSuchGroup(error)
          return throwFailure(error, commands, call, command)
        }),
      )
      const [next, entries, deleted] = listIn(reply)
      const next_start = textIn(next)
      return {
        data: justId ? listIn(entries).map(idAlone) : entriesIn(entries, maxValueBytes, encoding),
        next_start: next_start === '0-0' ? null : next_start,
        deleted_ids: deleted === undefined ? [] : listIn(deleted).map(textIn),
      }
    },
  }
}

const maxConsumers = 1_000

function summaryIn(reply: Reply | undefined, encoding: Encoding): PendingSummary {
  const [pending, first, last, consumers] = listIn(reply)
  const pairs = consumers === null ? [] : listIn(consumers).slice(0, maxConsumers).flatMap(listIn)
  return {
    pending: Number(pending),
    first_id: known(first),
    last_id: known(last),
    consumers: pairsIn(pairs).map(([consumer, count]) => ({
      consumer: fromBytes(consumer, encoding),
      pending: Number(textIn(count)),
    })),
  }
}

function idAlone(reply: Reply): StreamEntry {
  return { id: textIn(reply), fields: null }
}
