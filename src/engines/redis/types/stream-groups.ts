import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { Lanes } from '../commands.ts'
import { pageByName, type Position } from './set-pages.ts'
import { bytesIn, listIn, textIn } from '../replies.ts'
import { propertiesIn, sendExisting, serverCode } from './stream-entries.ts'
import { known } from './streams.ts'
import { type Encoding, fromBytes, type RedisValue, toArgument } from '../values.ts'

export interface GroupName {
  readonly key: RedisValue
  readonly group: RedisValue
}

export interface ConsumerName extends GroupName {
  readonly consumer: RedisValue
}

/** A consumer group; `null` for what the server is too old to know, or can not tell. Counters in decimal. */
export interface StreamGroup {
  readonly group: RedisValue
  readonly consumers: number
  readonly pending: number
  readonly last_delivered_id: string
  readonly entries_read: string | null
  readonly lag: string | null
}

export interface StreamConsumer {
  readonly consumer: RedisValue
  readonly pending: number
  readonly idle_ms: number
  /** Since it last was given anything; `null` where it never was, and before Redis 7.2. */
  readonly inactive_ms: number | null
}

export interface NamePage {
  readonly count: number
  readonly position: Position
  readonly encoding: Encoding
}

export interface Named<T> {
  readonly data: readonly T[]
  /** How many there are in all. */
  readonly length: number
  readonly next: Position | null
}

/** Where a group stands: the id of the last entry it was given, and how many it was given until there. */
export interface GroupStart {
  /** `$` is the last entry there is, `0` the beginning. */
  readonly id: string
  readonly entriesRead?: number | undefined
}

/** Consumer groups of streams. An absent key or group is `NOT_FOUND`. */
export interface StreamGroups {
  /** Groups in the order of their names' bytes. */
  list(key: RedisValue, page: NamePage, call: Call): Promise<Named<StreamGroup>>
  /** Throws `DB_CONFLICT` for a group that is there already. */
  create(group: GroupName, start: GroupStart & { readonly mkStream?: boolean | undefined }, call: Call): Promise<void>
  setId(group: GroupName, start: GroupStart, call: Call): Promise<void>
  /** Whether it was there; what was pending is forgotten. */
  destroy(group: GroupName, call: Call): Promise<boolean>
  /** Consumers in the order of their names' bytes. */
  consumers(group: GroupName, page: NamePage, call: Call): Promise<Named<StreamConsumer>>
  /** How many entries were pending with the consumer, which nobody can claim any more. */
  deleteConsumer(consumer: ConsumerName, call: Call): Promise<number>
}

export function createStreamGroups({ shared, alone }: Lanes): StreamGroups {
  return {
    async list(key, page, call) {
      const name = toArgument(key)
      const [reply] = await alone(call, (commands) =>
        sendExisting(commands, call, 'reads', name, ['xinfo', 'groups', name]),
      )
      return pageOf(listIn(reply).map(propertiesIn), page, (said, group) => ({
        group,
        consumers: Number(said.get('consumers')),
        pending: Number(said.get('pending')),
        last_delivered_id: textIn(said.get('last-delivered-id')),
        entries_read: known(said.get('entries-read')),
        lag: known(said.get('lag')),
      }))
    },
    async create({ key, group }, { id, entriesRead, mkStream }, call) {
      const name = toArgument(key)
      const options = [...(mkStream ? ['MKSTREAM'] : []), ...readOptions(entriesRead)]
      const command = ['xgroup', 'create', name, toArgument(group), id, ...options] as const
      await (
        mkStream ? shared.send(call, 'writes', command) : sendExisting(shared, call, 'writes', name, command)
      ).catch((error: unknown) => {
        if (serverCode(error) !== 'BUSYGROUP') throw error
        throw new ApiError('DB_CONFLICT', 'The stream has a group of this name already.', { cause: error })
      })
    },
    async setId({ key, group }, { id, entriesRead }, call) {
      const name = toArgument(key)
      const command = ['xgroup', 'setid', name, toArgument(group), id, ...readOptions(entriesRead)] as const
      await sendExisting(shared, call, 'writes', name, command).catch(refuseNoGroup)
    },
    async destroy({ key, group }, call) {
      const name = toArgument(key)
      const command = ['xgroup', 'destroy', name, toArgument(group)] as const
      const [destroyed] = await sendExisting(shared, call, 'writes', name, command)
      return destroyed === '1'
    },
    async consumers({ key, group }, page, call) {
      const name = toArgument(key)
      const command = ['xinfo', 'consumers', name, toArgument(group)] as const
      const [reply] = await alone(call, (commands) =>
        sendExisting(commands, call, 'reads', name, command).catch(refuseNoGroup),
      )
      return pageOf(listIn(reply).map(propertiesIn), page, (said, consumer) => ({
        consumer,
        pending: Number(said.get('pending')),
        idle_ms: Number(said.get('idle')),
        // -1 where it was given nothing yet.
        inactive_ms: said.has('inactive') && said.get('inactive') !== '-1' ? Number(said.get('inactive')) : null,
      }))
    },
    async deleteConsumer({ key, group, consumer }, call) {
      const name = toArgument(key)
      const command = ['xgroup', 'delconsumer', name, toArgument(group), toArgument(consumer)] as const
      const [pending] = await sendExisting(shared, call, 'writes', name, command).catch(refuseNoGroup)
      return Number(pending)
    },
  }
}

/** For `catch`: a group that is not there is `NOT_FOUND`. */
export function refuseNoGroup(error: unknown): never {
  throw serverCode(error) === 'NOGROUP' ? noSuchGroup(error) : error
}

export function noSuchGroup(cause: unknown): ApiError {
  return new ApiError('NOT_FOUND', 'There is no such key, or it has no such group.', { cause })
}

// The server answers them all at once, whatever their number.
function pageOf<T>(
  all: readonly ReturnType<typeof propertiesIn>[],
  { count, position, encoding }: NamePage,
  toItem: (said: ReturnType<typeof propertiesIn>, name: RedisValue) => T,
): Named<T> {
  const named = all.map((said) => [bytesIn(said.get('name')), said] as const)
  const { page, next } = pageByName(named, ([name]) => name, count, position)
  return { data: page.map(([name, said]) => toItem(said, fromBytes(name, encoding))), length: all.length, next }
}

function readOptions(entriesRead: number | undefined): readonly string[] {
  return entriesRead === undefined ? [] : ['ENTRIESREAD', String(entriesRead)]
}
