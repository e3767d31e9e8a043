import { ApiError } from '../../../errors.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Outcome } from '../commands.ts'
import { replyCode } from '../errors.ts'
import type { ImportLine } from './import-lines.ts'
import { type RedisValue, toArgument } from '../values.ts'

/** What becomes of a key that is there already. */
export type OnConflict = 'replace' | 'skip' | 'fail'

/** What became of a line. */
export type LineOutcome = 'written' | 'skipped' | ApiError

const maxArguments = 1_000
const emptyGroup = 'import'

/** Whether the conflict of a line is told by the write itself; others are looked at before. */
export function tellsConflict(line: ImportLine): boolean {
  return 'dump' in line || line.type === 'string'
}

/** When its key expires, in milliseconds since 1970; `undefined`: never. */
export function expiryOf({ expires_at_ms, ttl_ms }: ImportLine, now: number): number | undefined {
  return expires_at_ms ?? (typeof ttl_ms === 'number' ? now + ttl_ms : undefined)
}

/** The commands that write one line, all of one key. What follows the first line of a key is added to it. */
export function commandsFor(line: ImportLine, onConflict: OnConflict, now: number): readonly BatchCommand[] {
  const key = toArgument(line.key)
  const expiry = expiryOf(line, now)
  const isFirst = (line.part ?? 0) === 0
  const replaces = onConflict === 'replace'
  if ('dump' in line) {
    const options = ['ABSTTL', ...(replaces ? ['REPLACE'] : [])]
    return [['restore', key, String(expiry ?? 0), Buffer.from(line.dump, 'base64'), ...options]]
  }
  if (line.type === 'string' && isFirst) {
    if (replaces) return [['set', key, toArgument(line.value)], ...expiring(key, expiry)]
    // In one command: a key that is there keeps its own expiry. Redis 6.0 takes no moment with it.
    const ttl = expiry === undefined ? [] : ['PX', String(expiry - now)]
    return [['set', key, toArgument(line.value), ...ttl, 'NX']]
  }
  return [
    ...(isFirst && replaces ? [['unlink', key] as const] : []),
    ...adding(line, key),
    // With every line: the key may have expired since its first.
    ...expiring(key, expiry),
  ]
}

function expiring(key: string | Buffer, at: number | undefined): readonly BatchCommand[] {
  return at === undefined ? [] : [['pexpireat', key, String(at)]]
}

function adding(line: Exclude<ImportLine, { dump: string }>, key: string | Buffer): readonly BatchCommand[] {
  switch (line.type) {
    case 'string':
      return [['append', key, toArgument(line.value)]]
    case 'list':
      return chunked(line.elements.map(toArgument)).map((chunk) => ['rpush', key, ...chunk])
    case 'set':
      return chunked(line.members.map(toArgument)).map((chunk) => ['sadd', key, ...chunk])
    case 'zset':
      return chunked(line.members.flatMap(([member, score]) => [score, toArgument(member)])).map((chunk) => [
        'zadd',
        key,
        ...chunk,
      ])
    case 'hash':
      return chunked(line.fields.flatMap((pair) => pair.map(toArgument))).map((chunk) => ['hset', key, ...chunk])
    case 'stream':
      return streamCommands(line, key)
  }
}

type StreamLine = Extract<ImportLine, { type: 'stream'; entries: unknown }>

function streamCommands(
  { entries, last_id, groups = [], part = 0 }: StreamLine,
  key: string | Buffer,
): readonly BatchCommand[] {
  const added = entries.map(({ id, fields }): BatchCommand => [
    'xadd',
    key,
    id,
    ...fields.flatMap((pair) => pair.map((value: RedisValue) => toArgument(value))),
  ])
  // A stream without entries begins with a group.
  const made: readonly BatchCommand[] =
    entries.length > 0 || part > 0
      ? []
      : [
          ['xgroup', 'CREATE', key, emptyGroup, '0', 'MKSTREAM'],
          ['xgroup', 'DESTROY', key, emptyGroup],
        ]
  return [
    ...made,
    ...added,
    ...(last_id === undefined ? [] : [['xsetid', key, last_id] as const]),
    ...groups.map(({ name, last_delivered_id }): BatchCommand => [
      'xgroup',
      'CREATE',
      key,
      toArgument(name),
      last_delivered_id,
    ]),
  ]
}

function chunked(args: readonly (string | Buffer)[]): readonly (readonly (string | Buffer)[])[] {
  const count = Math.ceil(args.length / maxArguments)
  return Array.from({ length: count }, (_, at) => args.slice(at * maxArguments, (at + 1) * maxArguments))
}

/** What the replies to a line's commands say; a conflict is told by `conflictOf`. */
export function outcomeOf(line: ImportLine, outcomes: readonly Outcome[], onConflict: OnConflict): LineOutcome {
  const failed = outcomes.find((outcome) => 'error' in outcome)
  if (failed === undefined || !('error' in failed)) {
    const [first] = outcomes
    const hasConflict =
      line.type === 'string' && !('dump' in line) && first !== undefined && 'reply' in first && first.reply === null
    return hasConflict ? conflictOf(onConflict) : 'written'
  }
  const { error } = failed
  const code = error instanceof ApiError ? replyCode(error.cause) : undefined
  if (code === 'BUSYKEY') return conflictOf(onConflict)
  if ('dump' in line && code === 'ERR')
    return new ApiError(
      'DB_QUERY_ERROR',
      'Redis refused the dump: it is damaged, or of a newer version than this server.',
    )
  return error instanceof ApiError
    ? error
    : new ApiError('INTERNAL', 'The line could not be written.', { cause: error })
}

/** The outcome of a line whose key is there. */
export function conflictOf(onConflict: OnConflict): LineOutcome {
  return onConflict === 'skip' ? 'skipped' : new ApiError('CONFLICT', 'The key is there already.')
}
