import type { Redis } from 'ioredis'
import { ApiError } from '../../errors.ts'
import { type Encoding, fromBytes, type RedisValue } from './values.ts'

export interface ScanRequest {
  /** The server's own cursor; `'0'` begins. A uint64 in decimal, never a number. */
  readonly cursor: string
  readonly pattern: string
  readonly type?: string | undefined
  readonly count: number
  readonly encoding: Encoding
}

export interface KeyEntry {
  readonly key: RedisValue
  readonly type: string
  readonly ttl_ms: number | null
}

export interface ScanPage {
  readonly keys: readonly KeyEntry[]
  /** `null` after the last page. */
  readonly cursor: string | null
  readonly scanned: number
  readonly db_size: number
}

/** Runs a reading command within its bounds. */
type Read = <T>(command: () => Promise<T>) => Promise<T>

const maxScanRounds = 10
const maxOvershoot = 10
const minOvershoot = 1_000

/** Walks the keyspace from the request's cursor for a bounded number of rounds; `goOn` throws between them when nobody waits any more. */
export async function scanKeys(client: Redis, read: Read, goOn: () => void, request: ScanRequest): Promise<ScanPage> {
  const found = new Map<string, Buffer>()
  let { cursor } = request
  let scanned = 0
  for (let round = 0; round < maxScanRounds; round++) {
    if (round > 0) goOn()
    const from = cursor
    const type = request.type === undefined ? [] : (['TYPE', request.type] as const)
    const [next, keys] = await read(() =>
      client.scanBuffer(from, 'MATCH', request.pattern, 'COUNT', String(request.count), ...(type as [])),
    )
    cursor = next.toString('latin1')
    scanned += request.count
    for (const key of keys) found.set(key.toString('latin1'), key)
    // SCAN answers a few more than asked for, never many times as many; the caller bounds the count, a hostile server nothing.
    if (found.size > request.count * maxOvershoot + minOvershoot) throw overlong()
    if (cursor === '0' || found.size >= request.count) break
  }
  const keys = [...found.values()]
  // One bounded command for the whole page: a timer and a listener for each key would cost more than the keys.
  const [size, types, ttls] = await read(() =>
    Promise.all([
      client.dbsize(),
      Promise.all(keys.map((key) => client.type(key))),
      Promise.all(keys.map((key) => client.pttl(key))),
    ]),
  )
  const details = keys.map((key, index) => ({
    key: fromBytes(key, request.encoding),
    type: String(types[index]),
    ttl_ms: ttlOf(ttls[index] ?? -1),
  }))
  return {
    // A key that expired between SCAN and TYPE is not there any more.
    keys: details.filter(({ type }) => type !== 'none'),
    cursor: cursor === '0' ? null : cursor,
    scanned: Math.min(scanned, Number(size)),
    db_size: Number(size),
  }
}

function overlong(): ApiError {
  return new ApiError('RESULT_TOO_LARGE', 'The server answered SCAN with far more keys than were asked for.')
}

/** The reply of PTTL: -1 no expiry, -2 no key. */
export function ttlOf(reply: number | string): number | null {
  const ttl = Number(reply)
  return ttl < 0 ? null : ttl
}
