import { randomBytes } from 'node:crypto'
import { ApiError } from '../../../errors.ts'
import type { Call, Limits } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Lanes } from '../commands.ts'
import { type CappedValue, capped, withinAnswer } from './hash-values.ts'
import { assertExpected, isPlainRefusal, readsOf, whyNotAt } from './list-edits.ts'
import { type ListPage, type ListPageRequest, readListPage } from './list-pages.ts'
import { bytesIn, listIn } from '../replies.ts'
import { type Encoding, fromBytes, type RedisValue, toArgument } from '../values.ts'
import { writeAtOnce, writeWatched } from './watched.ts'
import { noSuchKey } from '../errors.ts'

/** An end of a list. */
export type Side = 'left' | 'right'

interface AtKey {
  readonly key: RedisValue
}

export interface ListPush extends AtKey {
  readonly values: readonly RedisValue[]
  readonly side: Side
  readonly onlyNew?: boolean | undefined
  readonly mustExist?: boolean | undefined
}

export interface ListSet extends AtKey {
  readonly index: number
  readonly value: RedisValue
  readonly expected?: RedisValue | undefined
}

export interface ListInsert extends AtKey {
  readonly where: 'before' | 'after'
  readonly pivot: RedisValue
  readonly value: RedisValue
}

/** By value: so many of those that are equal, from the end where `count` is negative, all where it is 0. Or the one at a position. */
export type ListRemove = AtKey &
  (
    | { readonly value: RedisValue; readonly count: number }
    | { readonly index: number; readonly expected?: RedisValue | undefined }
  )

export interface ListTrim extends AtKey {
  readonly start: number
  readonly stop: number
}

export interface ListPop extends AtKey {
  readonly side: Side
  readonly count: number
  readonly encoding: Encoding
}

export interface ListMove {
  readonly source: RedisValue
  readonly destination: RedisValue
  readonly from: Side
  readonly to: Side
  readonly encoding: Encoding
}

export interface Removed {
  readonly removed: number
  readonly length: number
}

/** Lists; each throws `DB_QUERY_ERROR` for a key of another type, and what names a position or a pivot `NOT_FOUND`. */
export interface Lists {
  /** `RESULT_TOO_LARGE` may be asked again for a smaller share. */
  page(request: ListPageRequest, call: Call): Promise<ListPage>
  /** Answers the length; `pushed` is 0 where the condition did not hold. */
  push(request: ListPush, call: Call): Promise<{ readonly pushed: number; readonly length: number }>
  /** Answers the length; throws `DB_CONFLICT` where another element than the expected is there. */
  set(request: ListSet, call: Call): Promise<number>
  insert(request: ListInsert, call: Call): Promise<number>
  remove(request: ListRemove, call: Call): Promise<Removed>
  trim(request: ListTrim, call: Call): Promise<Removed>
  /** In the order they were taken; throws `RESULT_TOO_LARGE`, and takes none, where they are too large to be answered. */
  pop(request: ListPop, call: Call): Promise<{ readonly values: readonly RedisValue[]; readonly length: number }>
  move(request: ListMove, call: Call): Promise<CappedValue & { source_length: number; destination_length: number }>
}

export function createLists(lanes: Lanes, limits: Limits): Lists {
  const { shared, alone } = lanes
  return {
    page: (request, call) => alone(call, (commands) => readListPage(commands, limits, request, call)),
    push,
    set,
    insert,
    remove,
    trim,
    pop,
    move,
  }

  async function push({ key: name, values, side, onlyNew, mustExist }: ListPush, call: Call) {
    const key = toArgument(name)
    const elements = values.map(toArgument)
    const command = `${side === 'left' ? 'l' : 'r'}push${mustExist ? 'x' : ''}`
    const writes: readonly BatchCommand[] = [[command, key, ...elements]]
    const answer = (length: number) => ({ pushed: length === 0 ? 0 : elements.length, length })
    if (!onlyNew) return answer(Number((await shared.send(call, 'writes', ...writes))[0]))
    return writeWatched(lanes, call, key, [['llen', key]], ([length]) =>
      Number(length) === 0
        ? { writes, answer: ([reply]) => answer(Number(reply)) }
        : { writes: [], answer: () => ({ pushed: 0, length: Number(length) }) },
    )
  }

  async function set({ key: name, index, value, expected }: ListSet, call: Call): Promise<number> {
    const key = toArgument(name)
    const writes: readonly BatchCommand[] = [
      ['lset', key, String(index), toArgument(value)],
      ['llen', key],
    ]
    if (expected !== undefined) {
      const wanted = { index, expected }
      return writeWatched(lanes, call, key, readsOf(key, wanted), (found) => {
        assertExpected(found, wanted)
        return { writes, answer: ([, length]) => Number(length) }
      })
    }
    const [done, length] = await shared.each(call, 'writes', ...writes)
    const count = length && 'reply' in length ? Number(length.reply) : Number.NaN
    if (done && 'error' in done) throw whyNotAt(index, count, done.error)
    return count
  }

  async function insert({ key, where, pivot, value }: ListInsert, call: Call): Promise<number> {
    const args = [toArgument(key), where.toUpperCase(), toArgument(pivot), toArgument(value)]
    const [reply] = await shared.send(call, 'writes', ['linsert', ...args])
    const length = Number(reply)
    if (length === 0) throw noSuchKey()
    if (length < 0) throw new ApiError('NOT_FOUND', 'The list has no element that equals the pivot.')
    return length
  }

  async function remove(request: ListRemove, call: Call): Promise<Removed> {
    const key = toArgument(request.key)
    if ('index' in request) return removeAt(key, request, call)
    const command: BatchCommand = ['lrem', key, String(request.count), toArgument(request.value)]
    const [removed, length] = await shared.send(call, 'writes', command, ['llen', key])
    return { removed: Number(removed), length: Number(length) }
  }

  /** Redis has no command for it: the element becomes one that no other equals, which is then removed, and nobody sees it in between. */
  async function removeAt(
    key: string | Buffer,
    { index, expected }: { readonly index: number; readonly expected?: RedisValue | undefined },
    call: Call,
  ): Promise<Removed> {
    const marker = Buffer.concat([Buffer.from('removed:'), randomBytes(24)])
    const writes: readonly BatchCommand[] = [
      ['lset', key, String(index), marker],
      ['lrem', key, index < 0 ? '-1' : '1', marker],
      ['llen', key],
    ]
    const answer = ([, removed, length]: readonly unknown[]) => ({ removed: Number(removed), length: Number(length) })
    if (expected !== undefined) {
      const wanted = { index, expected }
      return writeWatched(lanes, call, key, readsOf(key, wanted), (found) => {
        assertExpected(found, wanted)
        return { writes, answer }
      })
    }
    const done = await writeAtOnce(lanes, call, writes).catch(async (failure: unknown) => {
      if (!isPlainRefusal(failure)) throw failure
      const [length] = await shared.send(call, 'reads', ['llen', key])
      throw whyNotAt(index, Number(length), failure)
    })
    return answer(done)
  }

  async function trim({ key: name, start, stop }: ListTrim, call: Call): Promise<Removed> {
    const key = toArgument(name)
    const trimming: BatchCommand = ['ltrim', key, String(start), String(stop)]
    const [before, , after] = await writeAtOnce(lanes, call, [['llen', key], trimming, ['llen', key]])
    if (Number(before) === 0) throw noSuchKey()
    return { removed: Number(before) - Number(after), length: Number(after) }
  }

  /** Read before they are taken: what were taken first, and then too large to be answered, would be lost. */
  function pop({ key: name, side, count, encoding }: ListPop, call: Call) {
    const key = toArgument(name)
    const [from, to] = side === 'left' ? ['0', String(count - 1)] : [String(-count), '-1']
    return writeWatched(lanes, call, key, [['lrange', key, from, to]], ([reply]) => {
      const elements = listIn(reply).map(bytesIn)
      if (elements.length === 0) throw noSuchKey()
      if (side === 'right') elements.reverse()
      const values = elements.map((bytes) => fromBytes(bytes, encoding))
      const isTooLarge = elements.some(({ length }) => length > limits.maxValueBytes)
      if (isTooLarge || withinAnswer(values, limits.maxResponseBytes, (value) => [value]).length < values.length)
        throw new ApiError('RESULT_TOO_LARGE', 'The elements are larger than one answer may be; none was taken.')
      const [first, last] = side === 'left' ? [elements.length, -1] : [0, -elements.length - 1]
      return {
        writes: [
          ['ltrim', key, String(first), String(last)],
          ['llen', key],
        ],
        answer: ([, length]) => ({ values, length: Number(length) }),
      }
    })
  }

  async function move({ source, destination, from, to, encoding }: ListMove, call: Call) {
    const [key, target] = [toArgument(source), toArgument(destination)]
    // Read before it is moved: a reply above the cap would leave its mover in doubt.
    await alone(call, (commands) => commands.send(call, 'reads', ['lindex', key, from === 'left' ? '0' : '-1']))
    const writes: readonly BatchCommand[] = [
      ['lmove', key, target, from.toUpperCase(), to.toUpperCase()],
      ['llen', key],
      ['llen', target],
    ]
    const [element, left, arrived] = await writeAtOnce(lanes, call, writes)
    if (element === null) throw noSuchKey()
    return {
      ...capped(bytesIn(element), limits.maxValueBytes, encoding),
      source_length: Number(left),
      destination_length: Number(arrived),
    }
  }
}
