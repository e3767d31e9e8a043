import type { Call } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Commands } from '../commands.ts'
import { isTooLarge, notRedis, replyTooLarge } from '../errors.ts'
import { fields, type Form, groupsOf, type PageItem, plain, scored } from './key-forms.ts'
import { listIn } from '../replies.ts'
import { withinAnswer } from '../types/hash-values.ts'
import { scanRound } from '../types/scan-round.ts'
import { entriesIn, entriesWithin, entryTooLarge } from '../types/stream-entries.ts'
import { type Encoding, fromBytes, type RedisValue } from '../values.ts'

/** A page of a value, in the form that `PUT key` takes as far as it is whole. */
export type ValuePage = RedisValue | readonly PageItem[]

/** Where a page begins, and how much it may hold. */
export interface PageRequest {
  readonly key: string | Buffer
  readonly position: string | undefined
  /** With 1, a member that is larger than a reply may be is passed over, which ends the connection. */
  readonly count: number
  readonly encoding: Encoding
  readonly maxValueBytes: number
  readonly maxResponseBytes: number
}

interface Page {
  readonly value: ValuePage
  /** Where the next page begins; `null` after the last. */
  readonly next: string | null
}

/** How a type is read: its length, and a page from a position that the page before told. */
export interface PageReader {
  /** The command that tells it. */
  readonly length: string | null
  /** Sends before it waits for anything; what comes is read with the length of the whole. */
  fetch(commands: Commands, request: PageRequest, call: Call): Promise<(total: number) => Page>
}

const string: PageReader = {
  length: 'strlen',
  async fetch(commands, { key, position = '0', maxValueBytes, encoding }, call) {
    const end = Number(position) + maxValueBytes
    const [reply] = await commands.send(call, 'reads', ['getrange', key, position, String(end)])
    if (!(reply instanceof Buffer)) throw notRedis()
    const value = fromBytes(reply.subarray(0, maxValueBytes), encoding)
    return () => ({ value, next: reply.length > maxValueBytes ? String(end) : null })
  },
}

const json: PageReader = {
  length: null,
  async fetch(commands, { key, encoding }, call) {
    const [reply] = await commands.send(call, 'reads', ['json.get', key])
    if (!(reply instanceof Buffer)) throw notRedis()
    return () => ({ value: fromBytes(reply, encoding), next: null })
  },
}

const stream: PageReader = {
  length: 'xlen',
  async fetch(commands, { key, position, count, encoding, maxValueBytes, maxResponseBytes }, call) {
    const from = position ?? '-'
    const reply = await orPassed(commands, ['xrange', key, from, '+', 'COUNT', String(count)], count, call)
    if ('passed' in reply) throw entryTooLarge(from, reply.passed)
    const entries = entriesIn(reply.list, maxValueBytes, encoding)
    const value = entriesWithin(entries, maxResponseBytes)
    return (total) => {
      const isLast = value.length === entries.length && (value.length < count || (!position && value.length === total))
      return { value, next: isLast ? null : idAfter(value.at(-1)?.id ?? '0-0') }
    }
  },
}

/** By the server's name of the type. */
export const pageReaders: ReadonlyMap<string, PageReader> = new Map([
  ['string', string],
  ['list', ranged('llen', 'lrange', [], plain)],
  ['zset', ranged('zcard', 'zrange', ['WITHSCORES'], scored)],
  ['set', scanned('scard', 'sscan', plain)],
  ['hash', scanned('hlen', 'hscan', fields)],
  ['stream', stream],
  ['ReJSON-RL', json],
])

function ranged(length: string, name: string, options: readonly string[], form: Form): PageReader {
  return {
    length,
    async fetch(commands, request, call) {
      const { key, count } = request
      const begin = Number(request.position ?? '0')
      const command: BatchCommand = [name, key, String(begin), String(begin + count - 1), ...options]
      const reply = await orPassed(commands, command, count, call)
      const found =
        'passed' in reply ? [form.leftOut] : groupsOf(reply.list, form).map((one) => form.read(one, request))
      const value = withinAnswer(found, request.maxResponseBytes, (item) => [item])
      const end = begin + value.length
      return (total) => ({ value, next: found.length > 0 && end < total ? String(end) : null })
    },
  }
}

function scanned(length: string, command: 'sscan' | 'hscan', form: Form): PageReader {
  return {
    length,
    async fetch(commands, request, call) {
      const { key, position: cursor = '0', count, maxResponseBytes } = request
      const { next: following, items } = await scanRound(commands, { command, key, cursor, count }, call)
      const next = following === '0' ? null : following
      if (items === null) return () => ({ value: [form.leftOut], next })
      const found = groupsOf(items, form).map((one) => form.read(one, request))
      const fitting = withinAnswer(found, maxResponseBytes, (item) => [item])
      // The scan goes on behind all of them.
      if (fitting.length < found.length && count > 1) throw replyTooLarge()
      const value = found.map((item, at) => (at < fitting.length ? item : form.leftOut))
      return () => ({ value, next })
    },
  }
}

/** The list that is answered; of one that was asked for and is larger than a reply may be, what came instead. */
async function orPassed(commands: Commands, command: BatchCommand, count: number, call: Call) {
  try {
    const [list] = await commands.send(call, 'reads', command)
    return { list: listIn(list) }
  } catch (passed) {
    if (count > 1 || !isTooLarge(passed)) throw passed
    return { passed }
  }
}

const largest = 2n ** 64n - 1n

/** The smallest ID above one, `null` above the last: before Redis 6.2 a range can not leave out its ends. */
function idAfter(id: string): string | null {
  const [ms = 0n, sequence = 0n] = id.split('-').map(BigInt)
  if (sequence < largest) return `${ms}-${sequence + 1n}`
  return ms < largest ? `${ms + 1n}-0` : null
}
