import { ApiError } from '../../../errors.ts'
import type { HostPort } from '../../srv.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import { type Primary, slotOf } from './cluster-slots.ts'
import { notRedis } from '../errors.ts'

/** One command for one node. */
export interface Task {
  readonly command: BatchCommand
  readonly slot: number | undefined
  /** Where a command without a key has to go; without it, anywhere. */
  readonly place?: HostPort
}

/** What is sent for one command of a caller, and how its reply is made of theirs. */
export interface Plan {
  readonly tasks: readonly Task[]
  merge(replies: readonly Reply[]): Reply
}

type Merge = (replies: readonly Reply[]) => Reply

const first: Merge = ([reply]) => reply ?? null
const sum: Merge = (replies) => replies.reduce((total: bigint, reply) => total + integerOf(reply), 0n).toString()
const concat: Merge = (replies) => replies.flatMap((reply) => (Array.isArray(reply) ? (reply as readonly Reply[]) : []))

const keyByKey = new Map<string, Merge>([
  ['del', sum],
  ['exists', sum],
  ['mget', concat],
  ['touch', sum],
  ['unlink', sum],
])
const everywhere = new Map<string, Merge>([
  ['dbsize', sum],
  ['flushdb', first],
  ['keys', concat],
  ['script load', first],
  ['config set', first],
  ['latency reset', sum],
])
const withSubcommand: ReadonlySet<string> = new Set(['script', 'config', 'latency'])

/** Splits a command for the primaries of a cluster. Throws `DB_QUERY_ERROR` for a SCAN cursor that is none of ours. */
export function planOf(command: BatchCommand, primaries: () => readonly Primary[]): Plan {
  const [name, ...args] = command
  const merge = keyByKey.get(name)
  if (merge && args.length > 1) {
    const tasks = args.map((key): Task => ({ command: [name, key], slot: slotOf([name, key]) }))
    return { tasks, merge }
  }
  if (name === 'scan') return scanPlan(command, primaries())
  const mergeAll = everywhere.get(fullName(name, args[0]))
  if (mergeAll) {
    return { tasks: primaries().map(({ place }) => ({ command, slot: undefined, place })), merge: mergeAll }
  }
  return { tasks: [{ command, slot: slotOf(command) }], merge: first }
}

/** Whether a command needs all primaries; then the map should not be an old one. */
export function goesEverywhere([name, first]: BatchCommand): boolean {
  return name === 'scan' || everywhere.has(fullName(name, first))
}

function fullName(name: string, first: string | Buffer | undefined): string {
  return withSubcommand.has(name) ? `${name} ${String(first).toLowerCase()}` : name
}

const ownCursor = /^(\d{1,20})@((?:[0-9a-f]{8})+)$/

// The cursor names the nodes that are done, and last the one that is being walked, unless its own cursor is 0 again. Whoever takes the
// place of a node is walked from its beginning, so that a failover repeats keys and misses none.
function scanPlan([, cursor = '', ...options]: BatchCommand, primaries: readonly Primary[]): Plan {
  const text = typeof cursor === 'string' ? cursor : cursor.toString('latin1')
  const [, at, ids = ''] = text === '0' ? [] : (ownCursor.exec(text) ?? [])
  if (text !== '0' && at === undefined)
    throw new ApiError('DB_QUERY_ERROR', 'The cursor of SCAN is none of this cluster.')
  const walked: readonly string[] = ids.match(/.{8}/g) ?? []
  const current = walked.at(-1)
  const goingOn = at === '0' ? undefined : primaries.find(({ id }) => id === current)
  const node = goingOn ?? primaries.find(({ id }) => !walked.includes(id))
  if (node === undefined) return { tasks: [], merge: () => [Buffer.from('0'), []] }
  const done = new Set(goingOn ? walked.slice(0, -1) : walked)
  const command: BatchCommand = ['scan', (goingOn && at) ?? '0', ...options]
  return {
    tasks: [{ command, slot: undefined, place: node.place }],
    merge([reply]) {
      const [next, keys] = Array.isArray(reply) ? (reply as readonly Reply[]) : []
      if (!(next instanceof Buffer) || keys === undefined) throw notRedis()
      const isLast = primaries.every(({ id }) => id === node.id || done.has(id))
      if (next.toString('latin1') === '0' && isLast) return [next, keys]
      return [Buffer.from(`${next.toString('latin1')}@${[...done, node.id].join('')}`), keys]
    },
  }
}

function integerOf(reply: Reply): bigint {
  const text = String(reply)
  if (!/^-?\d{1,20}$/.test(text)) throw notRedis()
  return BigInt(text)
}
