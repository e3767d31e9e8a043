import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import type { Outcome } from '../commands.ts'
import { isTooLarge, replyCode } from '../errors.ts'
import { dumpLine, errorLine, type KeyHead, linesOf, wholeLines } from './export-lines.ts'
import { membersIn, readMembers, stateReads, streamStateIn, typedTypes, wholeRead } from './export-read.ts'
import { openSource } from './export-source.ts'
import { bySlices, keysASlice, takeTurns } from '../keyspace/turns.ts'
import type { Apart } from '../watch/watch.ts'
import { bytesIn, listIn } from '../replies.ts'
import { fromBytes, toArgument } from '../values.ts'

export interface ExportRequest {
  readonly pattern: string
  readonly type?: string | undefined
  /** `dump` is lossless for every type and as new a server; `typed` can be read and written by hand. */
  readonly form: 'typed' | 'dump'
}

interface FoundKey extends KeyHead {
  /** By MEMORY USAGE, about; `undefined` where the user may not ask. */
  readonly size: number | undefined
  /** Why nothing is known of it: an ACL may allow keys one by one. */
  readonly problem?: Error
}

const pageKeys = '100'
const sparseKeys = '500'
const smallBytes = 65_536
const batchBytes = 1_048_576

/**
 * A line for each key, then one with the counts; a line in between may be an error of its key alone. Each key is as it is when it is read:
 * there is no snapshot, and one that moves meanwhile may come twice. Takes memory for about a page.
 */
export async function* exportKeys(
  open: () => Promise<Apart>,
  { pattern, type, form }: ExportRequest,
  call: Call,
): AsyncGenerator<object, undefined> {
  await using source = await openSource(open)
  const { commands } = source
  const counts = { keys: 0, failed: 0 }
  let expiry: 'pexpiretime' | 'pttl' = 'pexpiretime'
  let cursor = '0'
  let count = pageKeys
  const turn = takeTurns(call)
  do {
    await turn()
    const options = ['MATCH', pattern, 'COUNT', count, ...(type === undefined ? [] : ['TYPE', type])]
    const [reply] = await commands.send(call, 'reads', ['scan', cursor, ...options])
    const [next, keys] = listIn(reply)
    cursor = bytesIn(next).toString('latin1')
    // Where few match, more are looked at.
    count = listIn(keys).length === 0 ? sparseKeys : pageKeys
    const unique = new Map(listIn(keys).map((key) => [bytesIn(key).toString('latin1'), bytesIn(key)]))
    const found = await bySlices([...unique.values()], turn, describe)
    for (const group of groupsOf(found)) {
      yield* group.length === 1 ? alone(group) : together(group)
      await turn()
    }
  } while (cursor !== '0')
  yield { end: counts }

  async function describe(keys: readonly Buffer[]): Promise<readonly FoundKey[]> {
    const asked = keys.flatMap((bytes): readonly BatchCommand[] => {
      const key = toArgument(fromBytes(bytes))
      return [
        ['type', key],
        [expiry, key],
        ['memory', 'usage', key],
      ]
    })
    const told = await commands.each(call, 'reads', ...asked)
    // Redis 6 has no PEXPIRETIME.
    if (expiry === 'pexpiretime' && told.every((outcome, at) => at % 3 !== 1 || 'error' in outcome)) {
      expiry = 'pttl'
      return describe(keys)
    }
    const now = Date.now()
    return keys.flatMap((key, at): FoundKey[] => {
      const [kind, expires, size] = told.slice(at * 3, at * 3 + 3)
      const problem = [kind, expires].find((outcome) => outcome !== undefined && 'error' in outcome)
      if (problem !== undefined && 'error' in problem)
        return [{ key, type: 'unknown', expiresAt: null, size: undefined, problem: problem.error }]
      const name = String(replyOf(kind))
      const ms = Number(replyOf(expires))
      const bytes = size !== undefined && 'reply' in size && size.reply !== null ? Number(size.reply) : undefined
      if (name === 'none') return []
      return [{ key, type: name, expiresAt: ms < 0 ? null : expiry === 'pttl' ? now + ms : ms, size: bytes }]
    })
  }

  /** Small values in one go; should they be larger than they seemed, one by one. */
  async function* together(keys: readonly FoundKey[]): AsyncGenerator<object, undefined> {
    const reads = keys.flatMap(({ key, type: kind }): readonly BatchCommand[] => {
      if (form === 'dump') return [['dump', key]]
      return kind === 'stream' ? [wholeRead(kind, key), ...stateReads(key)] : [wholeRead(kind, key)]
    })
    let told: readonly Outcome[]
    try {
      told = await commands.each(call, 'reads', ...reads)
    } catch (error) {
      if (!isTooLarge(error)) throw error
      return yield* alone(keys)
    }
    let at = 0
    for (const found of keys) {
      const [first, ...more] = told.slice(at, (at += form === 'typed' && found.type === 'stream' ? 3 : 1))
      let lines: readonly object[]
      try {
        lines = wholeOf(found, replyOf(first), more)
      } catch (error) {
        yield* failed(found, error)
        continue
      }
      if (lines.length > 0) counts.keys += 1
      yield* lines
    }
  }

  function wholeOf(found: FoundKey, reply: Reply, more: readonly Outcome[]): readonly object[] {
    if (form === 'dump') return reply instanceof Buffer ? [dumpLine(found, reply)] : []
    const members = membersIn(found.type, reply)
    if (found.type !== 'stream') return wholeLines(found, members)
    return wholeLines(found, members, streamStateIn(replyOf(more[0]), replyOf(more[1])))
  }

  async function* alone(keys: readonly FoundKey[]): AsyncGenerator<object, undefined> {
    for (const found of keys)
      yield* guarded(found, async function* lines() {
        const { key, type: kind, problem } = found
        if (problem !== undefined) throw problem
        if (form === 'dump') {
          const [payload] = await commands.send(call, 'reads', ['dump', key])
          if (payload instanceof Buffer) yield dumpLine(found, payload)
          return
        }
        if (!typedTypes.has(kind)) throw unsupported(kind)
        const state = async () => {
          const [stream, groups] = await commands.send(call, 'reads', ...stateReads(key))
          return streamStateIn(stream, groups)
        }
        yield* linesOf(found, readMembers(commands, kind, key, call), kind === 'stream' ? state : undefined)
      })
  }

  /** Counts, and makes what goes wrong with one key its own line. */
  async function* guarded(found: FoundKey, lines: () => AsyncIterable<object>): AsyncGenerator<object, undefined> {
    let isThere = false
    try {
      for await (const line of lines()) {
        isThere = true
        yield line
      }
      if (isThere) counts.keys += 1
    } catch (error) {
      yield* failed(found, error)
    }
  }

  async function* failed(found: FoundKey, error: unknown): AsyncGenerator<object, undefined> {
    if (!isOwn(error)) throw error
    const [exists] = await commands.each(call, 'reads', ['exists', found.key])
    // It went between its discovery and now.
    if (exists !== undefined && 'reply' in exists && exists.reply === '0') return
    counts.failed += 1
    yield errorLine(found, error.code, error.message)
  }
}

function* groupsOf(keys: readonly FoundKey[]): Generator<readonly FoundKey[], undefined> {
  let group: FoundKey[] = []
  let bytes = 0
  for (const found of keys) {
    const { size, type } = found
    if (size === undefined || size > smallBytes || !typedTypes.has(type)) {
      yield [found]
      continue
    }
    if (bytes + size > batchBytes || group.length === keysASlice) {
      yield group
      group = []
      bytes = 0
    }
    group.push(found)
    bytes += size
  }
  if (group.length > 0) yield group
}

function replyOf(outcome: Outcome | undefined) {
  if (outcome !== undefined && 'error' in outcome) throw outcome.error
  return outcome?.reply ?? null
}

/** Whether an error is of one key alone: the server's answer to a command, or a reply above the cap. */
function isOwn(error: unknown): error is ApiError {
  if (!(error instanceof ApiError)) return false
  if (error.code === 'DB_QUERY_ERROR') return replyCode(error.cause) !== undefined
  return error.code === 'DB_UNSUPPORTED' || error.code === 'RESULT_TOO_LARGE'
}

function unsupported(type: string): ApiError {
  return new ApiError('DB_UNSUPPORTED', `The typed form has no ${type}. Export it with form=dump.`)
}
