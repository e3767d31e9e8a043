import { ApiError, withOptions } from '../../../errors.ts'
import { type Call, throwIfOver } from '../../engine.ts'
import { type BodyLine, splitLines } from './import-body.ts'
import { type ImportLine, readImportLine } from './import-lines.ts'
import {
  commandsFor,
  conflictOf,
  expiryOf,
  type LineOutcome,
  type OnConflict,
  outcomeOf,
  tellsConflict,
} from './import-write.ts'
import { toArgument, toBytes } from '../values.ts'
import type { Apart } from '../watch/watch.ts'

export interface ImportRequest {
  readonly onConflict: OnConflict
  /** Ends at the first line that fails; each line is then written on its own. */
  readonly stopsAtFailure: boolean
  readonly maxBytes: number
}

/** Lines, but for `keys`. `errors` has the first 100. */
export interface ImportSummary {
  read: number
  written: number
  skipped: number
  failed: number
  keys: number
  /** Ended at the first failure, as it was asked to. */
  stopped: boolean
  readonly errors: { readonly line: number; readonly code: string; readonly message: string }[]
}

interface Waiting {
  readonly line: number
  readonly item: ImportLine
  readonly name: string
}

const maxLineBytes = 16_777_216
const maxErrors = 100
const batchLines = 100
const batchBytes = 1_048_576
const progressMs = 5_000
// Not of one line alone: a replica, a server that is full or loading.
const ofServer: ReadonlySet<string> = new Set(['DB_NOT_PRIMARY', 'DB_UNAVAILABLE'])

/**
 * Writes what the lines say, as they arrive: a line that fails is told and the others go on. Tells its counts every five seconds and in the
 * end. Several lines are on their way at once, never more than about 1 MiB; what ends the whole has the summary so far in its details.
 */
export async function* importLines(
  { commands }: Apart,
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { onConflict, stopsAtFailure, maxBytes }: ImportRequest,
  call: Call,
): AsyncGenerator<{ readonly progress: ImportSummary } | ImportSummary, undefined> {
  const summary: ImportSummary = { read: 0, written: 0, skipped: 0, failed: 0, keys: 0, stopped: false, errors: [] }
  let batch: Waiting[] = []
  let bytes = 0
  /** The key whose first line came last, and what became of it. */
  let current: { readonly name: string; readonly outcome: LineOutcome } | undefined
  let toldAt = performance.now()
  try {
    for await (const line of splitLines(body, { maxBytes, maxLineBytes })) {
      throwIfOver(call)
      await take(line)
      if (summary.stopped) break
      if (performance.now() - toldAt < progressMs) continue
      toldAt = performance.now()
      yield { progress: { ...summary, errors: [...summary.errors] } }
    }
    await flush()
  } catch (error) {
    if (!(error instanceof ApiError) || summary.read === 0) throw error
    throw withOptions(error, { details: { ...(error.details as object | undefined), import: summary } })
  }
  yield summary

  async function take({ line, bytes: given }: BodyLine): Promise<void> {
    let item: ImportLine | undefined
    try {
      if (given === undefined) throw new ApiError('PAYLOAD_TOO_LARGE', `The line is longer than ${maxLineBytes} bytes.`)
      item = readImportLine(given)
    } catch (error) {
      summary.read += 1
      note(line, error as ApiError)
      return
    }
    if (item === undefined) return
    summary.read += 1
    const name = toBytes(item.key).toString('latin1')
    const isPart = (item.part ?? 0) > 0
    // What is added to a key depends on what became of its first line, and a key's second first line on its first.
    if (isPart || batch.some((waiting) => waiting.name === name)) await flush()
    if (summary.stopped) return
    if (isPart && current?.name !== name)
      return note(line, new ApiError('VALIDATION_FAILED', 'part: the line before is not of the same key.'))
    if (isPart && current?.outcome !== 'written') return void settle(line, 'skipped')
    batch.push({ line, item, name })
    bytes += given?.length ?? 0
    if (isPart || stopsAtFailure || batch.length >= batchLines || bytes >= batchBytes) await flush()
  }

  async function flush(): Promise<void> {
    const lines = batch
    batch = []
    bytes = 0
    if (lines.length === 0) return
    const now = Date.now()
    const outcomes = new Map<Waiting, LineOutcome>()
    for (const waiting of lines) {
      const expiry = expiryOf(waiting.item, now)
      // What has expired where it came from is not written here.
      if (expiry !== undefined && expiry <= now) outcomes.set(waiting, 'skipped')
    }
    await lookForConflicts(lines, outcomes)
    const writing = lines.filter((waiting) => !outcomes.has(waiting))
    const plans = writing.map(({ item }) => commandsFor(item, onConflict, now))
    const told = plans.length === 0 ? [] : await commands.each(call, 'writes', ...plans.flat())
    let at = 0
    let unable: ApiError | undefined
    for (const [index, waiting] of writing.entries()) {
      const own = told.slice(at, (at += plans[index]?.length ?? 0))
      const outcome = outcomeOf(waiting.item, own, onConflict)
      outcomes.set(waiting, outcome)
      if (typeof outcome === 'object' && ofServer.has(outcome.code)) unable ??= outcome
    }
    for (const waiting of lines) {
      const outcome = outcomes.get(waiting) ?? 'skipped'
      const isPart = (waiting.item.part ?? 0) > 0
      if (!isPart || outcome !== 'written') current = { name: waiting.name, outcome }
      if (!isPart && outcome === 'written') summary.keys += 1
      settle(waiting.line, outcome)
    }
    if (unable !== undefined) throw unable
  }

  async function lookForConflicts(lines: readonly Waiting[], outcomes: Map<Waiting, LineOutcome>): Promise<void> {
    if (onConflict === 'replace') return
    const asked = lines.filter(
      (waiting) => !outcomes.has(waiting) && (waiting.item.part ?? 0) === 0 && !tellsConflict(waiting.item),
    )
    if (asked.length === 0) return
    const told = await commands.send(
      call,
      'reads',
      ...asked.map(({ item }) => ['exists', toArgument(item.key)] as const),
    )
    for (const [index, waiting] of asked.entries())
      if (told[index] !== '0') outcomes.set(waiting, conflictOf(onConflict))
  }

  function settle(line: number, outcome: LineOutcome): void {
    if (outcome === 'written' || outcome === 'skipped') summary[outcome] += 1
    else note(line, outcome)
  }

  function note(line: number, { code, message }: ApiError): void {
    summary.failed += 1
    if (summary.errors.length < maxErrors) summary.errors.push({ line, code, message })
    summary.stopped ||= stopsAtFailure
  }
}
