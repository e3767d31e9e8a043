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
const smallBytes = 1_024

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
  rounds: AsyncIterable<readonly Member[]>,
  state?: () => Promise<StreamState | undefined>,
): AsyncGenerator<object, undefined> {
  const lines = new Lines(head)
  for await (const members of rounds) for (const member of members) yield* lines.add(member)
  yield* lines.end(await state?.())
}

/** The same of a value that is there as a whole. */
export function wholeLines(head: KeyHead, members: readonly Member[], state?: StreamState): readonly object[] {
  const lines = new Lines(head)
  return [...members.flatMap((member) => lines.add(member)), ...lines.end(state)]
}

/** Fills lines with members. */
class Lines {
  readonly #head: KeyHead
  #part = 0
  #waiting: Member[] = []
  #bytes = 0

  constructor(head: KeyHead) {
    this.#head = head
  }

  /** The line before it, where that is full with those that came before. */
  add(member: Member): readonly object[] {
    const size = member.parts.reduce((sum, { length }) => sum + length, 0)
    const isFull = this.#waiting.length >= maxMembers || this.#bytes + size > maxBytes || this.#head.type === 'string'
    const full = this.#waiting.length > 0 && isFull ? [this.#line({})] : []
    this.#waiting.push(member)
    this.#bytes += size
    return full
  }

  end(ended: StreamState | undefined): readonly object[] {
    if (ended === undefined) return this.#waiting.length > 0 ? [this.#line({})] : []
    const groups = ended.groups.map(({ name, lastDelivered }) => ({
      name: shortest(name),
      last_delivered_id: lastDelivered,
    }))
    return [this.#line({ last_id: ended.last_id, groups })]
  }

  #line(more: object): object {
    const { type } = this.#head
    const shown =
      type === 'string'
        ? { value: shortest(this.#waiting[0]?.parts[0] ?? Buffer.alloc(0)) }
        : named(type, this.#waiting)
    const made = { ...headOf(this.#head), ...(this.#part === 0 ? {} : { part: this.#part }), ...shown, ...more }
    this.#part += 1
    this.#waiting = []
    this.#bytes = 0
    return made
  }
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
  const isLong = bytes.length >= smallBytes && escapeBytes(bytes) > bytes.length / 2
  return fromBytes(bytes, isLong ? 'base64' : 'utf8')
}

// Counted, not written: what only says how long it would be takes memory six times over.
function escapeBytes(bytes: Buffer): number {
  let more = 0
  // By index: an iterator takes fifteen times as long.
  for (let at = 0; at < bytes.length; at++) if ((bytes[at] ?? 0) < 0x20) more += 5
  return more
}
