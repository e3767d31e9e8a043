import { fromBytes, type RedisValue } from '../values.ts'
import type { Member, StreamState } from './export-read.ts'

/** What every line of a key has. */
export interface KeyHead {
  readonly key: Buffer
  readonly type: string
  /** `null`: never. */
  readonly expiresAt: number | null
}

const maxMembers = 1_000
const maxBytes = 1_048_576
const smallBytes = 65_536

/** Where the members of a type stand in its lines. */
const memberNames: Readonly<Record<string, string>> = {
  list: 'elements',
  set: 'members',
  zset: 'members',
  hash: 'fields',
  stream: 'entries',
}

/**
 * The lines of one key, of at most 1,000 members and about 1 MiB each; those behind the first are numbered by `part`. What a stream is
 * beside its entries stands in its last line. No line where there is no member: the key is gone.
 */
export async function* linesOf(
  head: KeyHead,
  rounds: AsyncIterable<readonly Member[]> | Iterable<readonly Member[]>,
  state?: () => Promise<StreamState | undefined>,
): AsyncGenerator<object, undefined> {
  let part = 0
  let waiting: Member[] = []
  let bytes = 0
  const line = (more: object = {}) => {
    const shown =
      head.type === 'string' ? { value: shortest(waiting[0]?.parts[0] ?? Buffer.alloc(0)) } : named(head.type, waiting)
    const made = { ...headOf(head), ...(part === 0 ? {} : { part }), ...shown, ...more }
    part += 1
    waiting = []
    bytes = 0
    return made
  }
  for await (const members of rounds)
    for (const member of members) {
      const size = member.parts.reduce((sum, { length }) => sum + length, 0)
      const isFull = waiting.length >= maxMembers || bytes + size > maxBytes || head.type === 'string'
      if (waiting.length > 0 && isFull) yield line()
      waiting.push(member)
      bytes += size
    }
  const ended = await state?.()
  if (ended !== undefined) {
    const groups = ended.groups.map(({ name, lastDelivered }) => ({
      name: shortest(name),
      last_delivered_id: lastDelivered,
    }))
    yield line({ last_id: ended.last_id, groups })
  } else if (waiting.length > 0) yield line()
}

/** The line of a key in the form of DUMP. */
export function dumpLine(head: KeyHead, payload: Buffer): object {
  return { ...headOf(head), dump: payload.toString('base64') }
}

/** The line of a key that could not be read; others go on. */
export function errorLine({ key, type }: Pick<KeyHead, 'key' | 'type'>, code: string, message: string): object {
  return { key: shortest(key), type, error: { code, message } }
}

function headOf({ key, type, expiresAt }: KeyHead): object {
  return { key: shortest(key), type, expires_at_ms: expiresAt }
}

function named(type: string, members: readonly Member[]): object {
  return { [memberNames[type] ?? 'members']: members.map(memberOf) }
}

function memberOf({ parts, isEntry }: Member): unknown {
  const [first = Buffer.alloc(0), ...more] = parts
  if (isEntry) {
    const fields = more.flatMap((name, at) => (at % 2 === 0 ? [[shortest(name), shortest(more[at + 1] ?? name)]] : []))
    return { id: first.toString('latin1'), fields }
  }
  return more.length === 0 ? shortest(first) : [shortest(first), ...more.map(shortest)]
}

/** Text of control characters takes six times its bytes, and a line has its bound: then base64, which takes less. */
function shortest(bytes: Buffer): RedisValue {
  const value = fromBytes(bytes)
  if (bytes.length < smallBytes || typeof value !== 'string') return value
  return JSON.stringify(value).length > bytes.length * 1.5 ? fromBytes(bytes, 'base64') : value
}
