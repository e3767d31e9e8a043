import { ApiError } from '../../../errors.ts'
import type { Call, Limits } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Commands, Lanes, Outcome } from '../commands.ts'
import { type PageReader, pageReaders, type ValuePage } from './key-pages.ts'
import { type TypedValue, writesOf } from './key-values.ts'
import { ttlOf } from './keys.ts'
import { noteOnType } from '../types/modules.ts'
import { type Encoding, fromBytes, type RedisValue, toArgument, toBytes } from '../values.ts'
import { writeAtOnce, writeWatched } from '../types/watched.ts'
import { goOn } from './turns.ts'
import { isTooLarge, noSuchKey } from '../errors.ts'

/** Where a page of a value begins: what the page before told, and the type it was of. */
export interface KeyPosition {
  readonly type: string
  readonly position: string
}

export interface KeyRequest {
  readonly key: RedisValue
  readonly encoding: Encoding
  /** Members a page, about; `0` reads no value. */
  readonly count: number
  readonly from?: KeyPosition | undefined
}

/** A key of any type with a page of its value; `null` is what the server does not tell, or what is not read. */
export interface KeyReport {
  readonly key: RedisValue
  /** As TYPE says it. */
  readonly type: string
  readonly ttl_ms: number | null
  readonly encoding: string | null
  readonly size_bytes: number | null
  /** Bytes of a string, else members. */
  readonly length: number | null
  readonly value: ValuePage | null
  readonly next: KeyPosition | null
  readonly note: string | null
}

export interface PutRequest {
  readonly key: RedisValue
  readonly typed: TypedValue
  readonly ttlMs?: number | undefined
  readonly keepTtl?: boolean | undefined
  readonly onlyNew?: boolean | undefined
  readonly onlyExisting?: boolean | undefined
}

/** One key of any type. */
export interface Key {
  /** Throws `NOT_FOUND`, `DB_CONFLICT` when the type is not that of the position, `RESULT_TOO_LARGE` when fewer members may be had. */
  read(request: KeyRequest, call: Call): Promise<KeyReport>
  /** Creates or replaces it as a whole; answers whether it was written, which `onlyNew` and `onlyExisting` may forbid. */
  put(request: PutRequest, call: Call): Promise<boolean>
}

const maxReads = 20
// MEMORY USAGE looks at so many members and not at all: a large key would hold up everybody.
const memorySamples = '5'
const jsonType = 'ReJSON-RL'

export function createKey(lanes: Lanes, { maxValueBytes, maxResponseBytes }: Limits): Key {
  const { shared, alone } = lanes
  return { read, put }

  // All on one connection: waiting for one in between would give others the time to replace the key.
  function read(request: KeyRequest, call: Call): Promise<KeyReport> {
    return request.count > 0 ? alone(call, (own) => readOn(own, request, call)) : readOn(shared, request, call)
  }

  async function readOn(commands: Commands, request: KeyRequest, call: Call): Promise<KeyReport> {
    const { key: name, encoding, from } = request
    const key = toArgument(name)
    for (let attempt = 0; attempt < maxReads; attempt++) {
      if (attempt > 0) goOn(call, 'The caller left, or its time ran out, before the key was read.')
      const [before, object, memory] = await commands.each(
        call,
        'reads',
        ['type', key],
        ['object', 'encoding', key],
        ['memory', 'usage', key, 'SAMPLES', memorySamples],
      )
      const type = textOf(before)
      if (type === 'none') throw noSuchKey()
      if (from !== undefined && from.type !== type)
        throw new ApiError('DB_CONFLICT', 'The key holds another type than when the page before was read. Begin anew.')
      const reader = pageReaders.get(type)
      const page = await readValue(commands, reader, key, request, call).catch(unlessWrongType)
      // Replaced or deleted since its type was asked for.
      if (page?.type !== type) continue
      return {
        key: encoding === 'utf8' ? name : fromBytes(toBytes(name), encoding),
        type,
        ttl_ms: page.ttl_ms,
        encoding: optional(object),
        size_bytes: numberOf(optional(memory)),
        length: page.length,
        value: page.value,
        next: page.next === null ? null : { type, position: page.next },
        note: reader === undefined ? noteOnType(type) : null,
      }
    }
    throw new ApiError('DB_CONFLICT', 'Others replaced the key again and again while it was read. Try again.')
  }

  async function readValue(
    commands: Commands,
    reader: PageReader | undefined,
    key: string | Buffer,
    { count, encoding, from }: KeyRequest,
    call: Call,
  ) {
    const wanted = { key, position: from?.position, count, encoding, maxValueBytes, maxResponseBytes }
    const counted: readonly BatchCommand[] = reader?.length ? [[reader.length, key]] : []
    const about = commands.send(call, 'reads', ['type', key], ['pttl', key], ...counted)
    const page = count > 0 ? reader?.fetch(commands, wanted, call) : undefined
    // Again, in case it was replaced in between; not behind what was too large, which has ended the connection.
    const after = page && commands.send(call, 'reads', ['type', key]).catch(unlessTooLarge)
    const [[type, ttl, size], read, last] = await Promise.all([about, page, after])
    const length = reader?.length ? Number(size) : null
    return {
      type: String(last?.[0] ?? type),
      ttl_ms: ttlOf(String(ttl)),
      length,
      ...(read?.(length ?? 0) ?? { value: null, next: null }),
    }
  }

  async function put({ key: name, typed, ttlMs, keepTtl, onlyNew, onlyExisting }: PutRequest, call: Call) {
    const key = toArgument(name)
    const [first, ...more] = writesOf(key, typed)
    if (first === undefined) return false
    if (typed.type === 'string') {
      const flags = [...(ttlMs === undefined ? [] : ['PX', String(ttlMs)]), ...(keepTtl ? ['KEEPTTL'] : [])]
      const condition = [...(onlyNew ? ['NX'] : []), ...(onlyExisting ? ['XX'] : [])]
      const [reply] = await alone(call, (own) => own.send(call, 'writes', [...first, ...flags, ...condition]))
      return reply !== null
    }
    const values = [first, ...more]
    const isJson = typed.type === 'json'
    if (!onlyNew && !onlyExisting && !keepTtl && !isJson) {
      await writeAtOnce(lanes, call, [['unlink', key], ...values, ...expiry(key, ttlMs)])
      return true
    }
    const reads: readonly BatchCommand[] = [
      ['type', key],
      ['pttl', key],
    ]
    return writeWatched(lanes, call, key, reads, ([type, ttl]) => {
      const before = String(type)
      if (before === 'none' ? onlyExisting : onlyNew) return { writes: [], answer: () => false }
      const kept = keepTtl ? (ttlOf(String(ttl)) ?? undefined) : ttlMs
      if (!isJson) return { writes: [['unlink', key], ...values, ...expiry(key, kept)], answer: () => true }
      // The module may refuse a document that is valid JSON: what is there must not be removed before.
      if (before !== 'none' && before !== jsonType)
        throw new ApiError('DB_CONFLICT', 'The key holds another type, which JSON does not replace. Delete it first.')
      const end: readonly BatchCommand[] = kept === undefined ? [['persist', key]] : expiry(key, kept)
      return { writes: [...values, ...end], answer: () => true }
    })
  }
}

function expiry(key: string | Buffer, ttlMs: number | undefined): readonly BatchCommand[] {
  return ttlMs === undefined ? [] : [['pexpire', key, String(Math.max(1, ttlMs))]]
}

function textOf(outcome: Outcome | undefined): string {
  if (outcome === undefined) return ''
  if ('error' in outcome) throw outcome.error
  return String(outcome.reply)
}

/** What a user's rights or the server's version may forbid. */
function optional(outcome: Outcome | undefined): string | null {
  return outcome === undefined || 'error' in outcome || outcome.reply === null ? null : String(outcome.reply)
}

function numberOf(text: string | null): number | null {
  return text === null ? null : Number(text)
}

function unlessWrongType(error: unknown): undefined {
  const { details } = error as Partial<ApiError>
  if ((details as { readonly code?: string } | undefined)?.code !== 'WRONGTYPE') throw error
}

function unlessTooLarge(error: unknown): undefined {
  if (!isTooLarge(error)) throw error
}
