import { createHash } from 'node:crypto'
import { ApiError } from '../../../errors.ts'
import type { Call, Limits } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import type { Commands, Outcome } from '../commands.ts'
import { matchesGlob } from './hash-glob.ts'
import { type CappedValue, capped, leftOut, withinAnswer } from './hash-values.ts'
import { goOn } from '../keyspace/turns.ts'
import { scanRound } from './scan-round.ts'
import { bytesIn, listIn, pairsIn, textIn } from '../replies.ts'
import { type Encoding, fromBytes, type RedisValue, toArgument } from '../values.ts'
import { noSuchKey, replyCode, replyTooLarge } from '../errors.ts'

/** Where a page begins: at a cursor of HSCAN, or behind a place in the order of the fields' bytes, which is base64. */
export type HashPosition = { readonly scan: string } | { readonly after: string }

export interface HashPageRequest {
  readonly key: RedisValue
  readonly pattern?: string | undefined
  readonly count: number
  /** Reads a part of `count` at once; see `withFewer`. */
  readonly share: number
  /** Absent: the first page. */
  readonly position?: HashPosition | undefined
  readonly encoding: Encoding
  /** Whether the server keeps a TTL for each field. */
  readonly fieldTtls: boolean
}

export interface HashEntry extends CappedValue {
  /** `null`: one or some fields that are too large to be read. */
  readonly field: RedisValue | null
  /** Where the server keeps one for each field; null never expires. */
  readonly ttl_ms?: number | null
}

export interface HashPage {
  readonly entries: readonly HashEntry[]
  /** `null` after the last page. */
  readonly next: HashPosition | null
  readonly length: number
}

type Field = readonly [name: Buffer, value: CappedValue]

// A hash this small is sorted for each of its pages, so that they hold exactly what was asked for, whatever the size of its values.
const smallLength = 1_000
const sortableLength = 10_000
const maxItems = 1_000
const maxRounds = 100
const maxScanMs = 250
const minScanned = 100
// The rest of a page is not worth an HSCAN of its own, which may answer more than was asked for.
const fullShare = 0.9
const maxPlace = 256
// HSCAN answers them whole, whatever COUNT says.
const wholeEncodings: ReadonlySet<string> = new Set(['listpack', 'listpackex', 'ziplist', 'zipmap'])

/** A page of fields; `NOT_FOUND`, `RESULT_TOO_LARGE` where a smaller share may fit, `DB_CONFLICT` where a sorted hash outgrew sorting. */
export async function readHashPage(
  commands: Commands,
  limits: Limits,
  request: HashPageRequest,
  call: Call,
): Promise<HashPage> {
  const key = toArgument(request.key)
  const [held, shape, memory] = await commands.each(
    call,
    'reads',
    ['hlen', key],
    ['object', 'encoding', key],
    ['memory', 'usage', key],
  )
  const length = Number(replyOf(held))
  if (length === 0) throw noSuchKey()
  const isWhole = wholeEncodings.has(
    shape && 'reply' in shape && shape.reply instanceof Buffer ? textIn(shape.reply) : '',
  )
  const bytes = Number(memory && 'reply' in memory ? memory.reply : 0)
  const { position } = request
  const isSorted = position === undefined ? isWhole || length <= smallLength : 'after' in position
  if (isSorted && !isWhole && length > sortableLength)
    throw new ApiError('DB_CONFLICT', 'The hash has grown a lot since its first page. Begin again without a cursor.')
  const read = isSorted ? sortedPage : scannedPage
  const { fields, passed, next } = await read(commands, limits, { ...request, key, each: bytes / length }, call)
  const entries = await describe(commands, { ...request, key }, fields, call)
  return { entries: passed ? [...entries, { field: null, value: null, truncated: true }] : entries, next, length }
}

/** `passed`: behind them stands what is too large to be read. */
interface Read {
  readonly fields: readonly Field[]
  readonly passed?: true
  readonly next: HashPosition | null
}

type Reading = Omit<HashPageRequest, 'key'> & { readonly key: string | Buffer; readonly each: number }

/** By names alone, then sizes, then the values that fit: no large value is ever read. */
async function sortedPage(commands: Commands, limits: Limits, request: Reading, call: Call): Promise<Read> {
  const { key, position, count, encoding } = request
  const [reply] = await commands.send(call, 'reads', ['hkeys', key])
  const pattern = request.pattern === undefined ? undefined : Buffer.from(request.pattern)
  const after = position !== undefined && 'after' in position ? Buffer.from(position.after, 'base64') : undefined
  const rest = listIn(reply)
    .map((name) => ({ name: bytesIn(name), place: placeOf(bytesIn(name)) }))
    .filter(({ place }) => after === undefined || Buffer.compare(place, after) > 0)
    .filter(({ name }) => pattern === undefined || matchesGlob(pattern, name))
    .toSorted((a, b) => Buffer.compare(a.place, b.place))
    .map(({ name }) => name)
  const wanted = rest.slice(0, count)
  const read = await readValues(commands, limits, { key, encoding }, wanted, call)
  const last = read.names.at(-1)
  const fields = read.fields
  const kept = withinAnswer(fields, limits.maxResponseBytes, (field) => inJson(field, encoding))
  const end = kept.length < fields.length ? kept.at(-1)?.[0] : last
  const isLast = end === undefined || rest.at(-1)?.equals(end)
  return { fields: kept, next: isLast ? null : { after: placeOf(end).toString('base64') } }
}

/** A field's place in the order: its bytes, of which a cursor need not carry more than these and a digest. */
function placeOf(name: Buffer): Buffer {
  if (name.length <= maxPlace) return name
  return Buffer.concat([name.subarray(0, maxPlace), createHash('sha256').update(name).digest()])
}

/** Values of fields by their sizes; of as many of them as one reply holds. */
async function readValues(
  commands: Commands,
  limits: Limits,
  { key, encoding }: Pick<Reading, 'key' | 'encoding'>,
  wanted: readonly Buffer[],
  call: Call,
): Promise<{ readonly names: readonly Buffer[]; readonly fields: readonly Field[] }> {
  if (wanted.length === 0) return { names: [], fields: [] }
  const lengths = await commands.send(call, 'reads', ...wanted.map((name): BatchCommand => ['hstrlen', key, name]))
  const sizes = lengths.map(Number)
  const fits = (index: number) => (sizes[index] ?? 0) <= limits.maxValueBytes
  let bytes = 0
  const end = wanted.findIndex((_, index) => {
    bytes += fits(index) ? (sizes[index] ?? 0) : 0
    return index > 0 && bytes > limits.maxResponseBytes
  })
  const names = wanted.slice(0, end === -1 ? wanted.length : end)
  const whole = names.filter((_, index) => fits(index))
  const values = whole.length === 0 ? [] : listIn((await commands.send(call, 'reads', ['hmget', key, ...whole]))[0])
  let at = 0
  const fields = names.flatMap((name, index): Field[] => {
    if (!fits(index)) return [[name, leftOut(sizes[index] ?? 0)]]
    const value = values[at++]
    // Removed in between.
    return value instanceof Buffer ? [[name, capped(value, limits.maxValueBytes, encoding)]] : []
  })
  return { names, fields }
}

/** By HSCAN, whose replies hold the values: COUNT follows from what a field takes on the average. */
async function scannedPage(commands: Commands, limits: Limits, request: Reading, call: Call): Promise<Read> {
  const { key, pattern, count, share, position, encoding } = request
  const affordable = Math.max(1, Math.floor(limits.maxResponseBytes / 2 / Math.max(1, request.each)))
  const until = performance.now() + maxScanMs
  let cursor = position !== undefined && 'scan' in position ? position.scan : '0'
  let found = new Map<string, Field>()
  let most = share > 1 && share >= count ? 1 : Math.max(1, Math.floor(Math.min(affordable, maxItems) / share))
  for (let round = 0; round < maxRounds && (round === 0 || performance.now() < until); round++) {
    if (round > 0) goOn(call)
    const missing = Math.max(1, Math.floor((count - found.size) * fullShare))
    const asked = Math.min(most, pattern === undefined ? missing : Math.max(missing, minScanned))
    const { next, items } = await scanRound(commands, { command: 'hscan', key, cursor, pattern, count: asked }, call)
    const behind = next === '0' ? null : { scan: next }
    if (items === null) {
      if (found.size > 0) throw replyTooLarge()
      return { fields: [], passed: true, next: behind }
    }
    const all = new Map(found)
    for (const [name, value] of pairsIn(items))
      all.set(name.toString('latin1'), [name, capped(value, limits.maxValueBytes, encoding)])
    const fields = [...all.values()]
    const fitting = withinAnswer(fields, limits.maxResponseBytes, (field) => inJson(field, encoding))
    if (fitting.length < fields.length || fields.length > maxItems) {
      // They come again with the next page.
      if (found.size > 0) break
      if (asked === 1) return { fields: fitting.slice(0, maxItems), passed: true, next: behind }
      most = asked >> 1
      continue
    }
    found = all
    cursor = next
    // Where a reply was too large, another may be as well, which ends the connection: the TTLs are still to be read on it.
    if (cursor === '0' || (share > 1 && found.size > 0) || found.size >= count * fullShare) break
  }
  return { fields: [...found.values()], next: cursor === '0' ? null : { scan: cursor } }
}

/** Fields as they are answered, each with its TTL where the server keeps one. */
async function describe(
  commands: Commands,
  { key, encoding, fieldTtls }: Pick<Reading, 'key' | 'encoding' | 'fieldTtls'>,
  fields: readonly Field[],
  call: Call,
): Promise<readonly HashEntry[]> {
  const entries = fields.map(([name, value]): HashEntry => ({ field: fromBytes(name, encoding), ...value }))
  if (!fieldTtls || fields.length === 0) return entries
  const names = fields.map(([name]) => name)
  const [outcome] = await commands.each(call, 'reads', ['hpttl', key, 'FIELDS', String(names.length), ...names])
  const ttls = ttlsIn(outcome)
  if (ttls === undefined) return entries
  return entries.flatMap((entry, index) => (ttls[index] === undefined ? [] : { ...entry, ttl_ms: ttls[index] }))
}

/**
 * The reply of HPTTL: null for a field that never expires, `undefined` for one that has expired meanwhile. `undefined` in place of all where
 * the user may not ask for them.
 */
export function ttlsIn(outcome: Outcome | undefined): readonly (number | null | undefined)[] | undefined {
  if (outcome === undefined) return undefined
  if ('error' in outcome) {
    if (replyCode(outcome.error.cause) === 'NOPERM') return undefined
    throw outcome.error
  }
  // -1 no expiry, -2 no field.
  return listIn(outcome.reply).map((ttl) => (Number(ttl) === -2 ? undefined : Number(ttl) < 0 ? null : Number(ttl)))
}

function inJson([name, value]: Field, encoding: Encoding): readonly unknown[] {
  return [fromBytes(name, encoding), value]
}

export function replyOf(outcome: Outcome | undefined): Reply | undefined {
  if (outcome === undefined || 'reply' in outcome) return outcome?.reply
  throw outcome.error
}
