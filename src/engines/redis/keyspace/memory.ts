import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Commands, Lanes, Outcome } from '../commands.ts'
import { detailsOf, readDetails } from './keys.ts'
import { sizeOf } from './permitted.ts'
import { type Budget, walkKeys } from './scan-loop.ts'
import { type SampledKey, type SizeReport, SizeSums } from './scan-sizes.ts'
import { Seen } from './seen.ts'
import { bySlices, thenRest, type Turn } from './turns.ts'
import { fromBytes, parseInfo, toArgument } from '../values.ts'

export interface MemoryRequest {
  /** Keys to sample, at the most. */
  readonly samples: number
  readonly separator: string
}

export interface MemoryReport extends SizeReport {
  readonly sampled: number
  /** Keys met that the user may not look at, and that are in no figure. */
  readonly refused: number
  /** `null` for a user without the right to DBSIZE. */
  readonly db_size: number | null
  /** Whether the sample is all there is, but for refused keys. */
  readonly complete: boolean
  readonly server: ServerMemory
}

/** What the server says of its memory, each as it says it; `null` is what the user or the server does not allow. */
export interface ServerMemory {
  /** INFO memory. */
  readonly info: Readonly<Record<string, string>> | null
  /** MEMORY STATS. */
  readonly stats: Readonly<Record<string, Stat>> | null
  /** MEMORY DOCTOR. */
  readonly doctor: string | null
}

export type Stat = string | Readonly<Record<string, string>>

/** Where the memory goes. */
export interface Memory {
  /** A report from a bounded sample, in proportion for all keys. SCAN goes by the hash of the names, so what it meets first is a fair sample. */
  report(request: MemoryRequest, call: Call): Promise<MemoryReport>
}

const budget: Budget = { rounds: 200, ms: 1_000 }
const samplesARound = 100
// Few databases have so much in the names of 10,000 keys, and no answer may.
const maxNameBytes = 2_097_152

export function createMemory({ alone }: Lanes): Memory {
  return {
    report: (request, call) =>
      thenRest(call, (turn) => alone(call, (commands) => report(commands, request, call, turn))),
  }
}

async function report(
  commands: Commands,
  { samples, separator }: MemoryRequest,
  call: Call,
  turn: Turn,
): Promise<MemoryReport> {
  const sums = new SizeSums(Buffer.from(separator))
  const seen = new Seen()
  let refused = 0
  let nameBytes = 0
  const take = async (keys: readonly Buffer[]) => {
    for (const { key, type, ttl_ms, size_bytes } of await bySlices(keys, turn, (slice) =>
      detailsFor(commands, slice, call),
    )) {
      if (!seen.add(key)) continue
      if (type === null) refused += 1
      else {
        sums.add({ key, type, ttl_ms, size_bytes })
        nameBytes += key.length
      }
    }
    return sums.keys >= samples || nameBytes >= maxNameBytes ? 'enough' : 'more'
  }
  const walk = { cursor: '0', count: Math.min(samples, samplesARound), budget, turn }
  const wanted = () => Math.min(samplesARound, samples - sums.keys)
  const { cursor } = await walkKeys(commands, walk, take, call, wanted)
  const dbSize = await sizeOf(commands, call)
  const told = await commands.each(call, 'reads', ['info', 'memory'], ['memory', 'stats'], ['memory', 'doctor'])
  const complete = cursor === null
  const proportion = dbSize === null ? null : dbSize / Math.max(1, seen.size)
  return {
    sampled: sums.keys,
    refused,
    db_size: dbSize,
    complete,
    ...sums.report(complete ? 1 : proportion),
    server: serverMemory(told.map(replyOf)),
  }
}

/** The type is `null` for keys that the user may not look at. Throws where the right to MEMORY USAGE alone is missing. */
async function detailsFor(
  commands: Commands,
  keys: readonly Buffer[],
  call: Call,
): Promise<readonly (Omit<SampledKey, 'type'> & { readonly type: string | null })[]> {
  const asked = keys.flatMap((key) => detailsOf(toArgument(fromBytes(key)), true))
  const outcomes = await commands.each(call, 'reads', ...asked)
  return keys.flatMap((key, at) => {
    const { type, ttl_ms, size_bytes } = readDetails(outcomes, at * 3, true)
    const memory = outcomes[at * 3 + 2]
    if (type !== null && memory !== undefined && 'error' in memory) throw memory.error
    return type === 'none' ? [] : [{ key, type, ttl_ms, size_bytes: size_bytes ?? 0 }]
  })
}

function replyOf(outcome: Outcome | undefined): Reply {
  return outcome !== undefined && 'reply' in outcome ? outcome.reply : null
}

function serverMemory([info, stats, doctor]: readonly Reply[]): ServerMemory {
  return {
    info: info instanceof Buffer ? (parseInfo(info.toString('utf8'))['memory'] ?? {}) : null,
    stats: Array.isArray(stats)
      ? Object.fromEntries(pairsOf(stats).map(([name, value]) => [name, statOf(value)]))
      : null,
    doctor: doctor instanceof Buffer ? doctor.toString('utf8') : null,
  }
}

function statOf(value: Reply): Stat {
  if (!Array.isArray(value)) return String(value)
  return Object.fromEntries(pairsOf(value).map(([name, inner]) => [name, String(inner)]))
}

function pairsOf(list: readonly Reply[]): readonly (readonly [string, Reply])[] {
  return list.flatMap((name, at) => (at % 2 === 0 ? [[String(name), list[at + 1] ?? null] as const] : []))
}
