import type { Call } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Commands, Lanes, Outcome } from '../commands.ts'
import { permitted, scannedOf, sizeIn, sizeOf } from './permitted.ts'
import { integerOf, requestBudget, type Taken, walkKeys } from './scan-loop.ts'
import { onlyMatch } from './scan-pattern.ts'
import { bySlices, takeTurns, thenRest, type Turn } from './turns.ts'
import { type Encoding, fromBytes, type RedisValue, toBytes } from '../values.ts'

export interface ScanRequest {
  /** The server's own cursor; `'0'` begins. A uint64 in decimal, never a number. */
  readonly cursor: string
  readonly pattern: RedisValue
  readonly type?: string | undefined
  readonly count: number
  readonly encoding: Encoding
  /** Whether each key's memory is sampled. */
  readonly memory: boolean
}

export interface KeyEntry {
  readonly key: RedisValue
  /** `null` where the user's ACL does not allow to look at the key: its TTL and size are not known then. */
  readonly type: string | null
  readonly ttl_ms: number | null
  /** Where it was asked for; `null` where the user may not. */
  readonly size_bytes?: number | null
}

export interface ScanPage {
  readonly keys: readonly KeyEntry[]
  /** `null` after the last page. */
  readonly cursor: string | null
  readonly scanned: number
  /** `null` for a user without the right to DBSIZE. */
  readonly db_size: number | null
}

/** Keys of any type. */
export interface Keys {
  /**
   * A page of keys by SCAN, or the one key that a pattern without glob characters names. May be empty, or longer than asked for: at most
   * twice as long and 20 more, never longer than 1,000.
   */
  scan(request: ScanRequest, call: Call): Promise<ScanPage>
}

const maxPage = 1_000
const extra = 20
// As JSON a byte may take six characters.
const maxNameBytes = 1_048_576
// The rest of a page is not worth a SCAN of its own.
const fullShare = 0.9
const dbSize: readonly BatchCommand[] = [['dbsize']]

export function createKeys({ shared, alone }: Lanes): Keys {
  return {
    async scan(request, call) {
      const name = onlyMatch(toBytes(request.pattern))
      const found = name && (await one(name, request, call))
      if (found !== undefined) return found
      return thenRest(call, (turn) => alone(call, (commands) => page(commands, request, call, turn)))
    },
  }

  /** `undefined` for a key that the user may not look at: whether it is there only SCAN tells. */
  async function one(key: Buffer, request: ScanRequest, call: Call): Promise<ScanPage | undefined> {
    const { size, entries } = await describe(shared, [key], request, call, takeTurns(call))
    if (entries.some(({ type }) => type === null)) return undefined
    const wanted = request.type?.toLowerCase()
    return {
      keys: entries.filter(({ type }) => wanted === undefined || type?.toLowerCase() === wanted),
      cursor: null,
      scanned: scannedOf(1, size),
      db_size: size,
    }
  }

  async function page(commands: Commands, request: ScanRequest, call: Call, turn: Turn): Promise<ScanPage> {
    const { count } = request
    const most = Math.min(maxPage, count * 2 + extra)
    const enough = Math.ceil(count * fullShare)
    const found = new Map<string, Buffer>()
    let nameBytes = 0
    const take = (keys: readonly Buffer[], isLeast: boolean): Taken => {
      const fresh = new Map<string, Buffer>()
      let bytes = nameBytes
      for (const key of keys) {
        const name = key.toString('latin1')
        if (!found.has(name)) fresh.set(name, key)
        bytes += key.length
      }
      const isTooMuch = found.size + fresh.size > most || bytes > maxNameBytes
      if (isTooMuch && !(isLeast && fresh.size <= maxPage)) return 'too many'
      nameBytes = bytes
      for (const [name, key] of fresh) found.set(name, key)
      return found.size >= enough ? 'enough' : 'more'
    }
    const walk = {
      cursor: request.cursor,
      pattern: toBytes(request.pattern),
      type: request.type,
      count: Math.max(1, Math.floor(count * fullShare)),
      budget: requestBudget,
      turn,
    }
    const { cursor, scanned } = await walkKeys(commands, walk, take, call, () => enough - found.size)
    const { size, entries } = await describe(commands, [...found.values()], request, call, turn)
    return { keys: entries, cursor, scanned: scannedOf(scanned, size), db_size: size }
  }
}

/**
 * Type, TTL and, where asked for, memory of keys, one slice after the other; keys that are not there any more are left out. Takes the number
 * of all keys along.
 */
async function describe(
  commands: Commands,
  keys: readonly Buffer[],
  { encoding, memory }: Pick<ScanRequest, 'encoding' | 'memory'>,
  call: Call,
  turn: Turn,
): Promise<{ readonly size: number | null; readonly entries: readonly KeyEntry[] }> {
  const width = memory ? 3 : 2
  let size = keys.length === 0 ? await sizeOf(commands, call) : null
  const entries = await bySlices(keys, turn, async (slice, isFirst) => {
    const names = slice.map((key) => fromBytes(key, encoding))
    // Text takes less than bytes to send.
    const asked = names.flatMap((name, at) => detailsOf(typeof name === 'string' ? name : (slice[at] ?? ''), memory))
    const told = await commands.each(call, 'reads', ...asked, ...(isFirst ? dbSize : []))
    if (isFirst) size = sizeIn(told.at(-1))
    return names.flatMap((key, at): KeyEntry[] => {
      const { type, ttl_ms, size_bytes } = readDetails(told, at * width, memory)
      if (type === 'none') return []
      return [memory ? { key, type, ttl_ms, size_bytes } : { key, type, ttl_ms }]
    })
  })
  return { size, entries }
}

/** What a key's details are asked with; its memory by a sample, for the whole of a large value costs as much as reading it. */
export function detailsOf(key: string | Buffer, memory: boolean): readonly BatchCommand[] {
  const [type, ttl]: readonly [BatchCommand, BatchCommand] = [
    ['type', key],
    ['pttl', key],
  ]
  return memory ? [type, ttl, ['memory', 'usage', key, 'SAMPLES', '5']] : [type, ttl]
}

/**
 * What became of `detailsOf`, which begins at an index; the type is `none` where the key is not there any more, and `null` where the user may
 * not look at it.
 */
export function readDetails(
  outcomes: readonly Outcome[],
  at: number,
  memory: boolean,
): {
  readonly type: string | null
  readonly ttl_ms: number | null
  readonly size_bytes: number | null
} {
  const [told, left] = [permitted(outcomes[at]), permitted(outcomes[at + 1])]
  const bytes = memory ? permitted(outcomes[at + 2]) : undefined
  // A user who may only write to a key is told its type, and not its TTL.
  if (told === undefined || left === undefined) return { type: null, ttl_ms: null, size_bytes: null }
  return {
    type: String(told),
    ttl_ms: ttlOf(integerOf(left)),
    size_bytes: bytes === undefined ? null : integerOf(bytes ?? '0'),
  }
}

/** The reply of PTTL: -1 no expiry, -2 no key. */
export function ttlOf(reply: number | string): number | null {
  const ttl = Number(reply)
  return ttl < 0 ? null : ttl
}
