import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { BatchCommand } from '../wire/batch.ts'
import type { Lanes, Outcome } from '../commands.ts'
import { ttlOf } from './keys.ts'
import { throwFailure } from '../types/modules.ts'
import { type RedisValue, toArgument } from '../values.ts'
import { noSuchKey } from '../errors.ts'

/** One change of a key that leaves its value as it is. */
export type KeyChange =
  | { readonly expire: Expiry }
  | { readonly persist: true }
  | { readonly rename: { readonly to: RedisValue; readonly overwrite: boolean } }
  | { readonly copy: { readonly to: RedisValue; readonly database: number | undefined; readonly replace: boolean } }

/** `ttlMs` from now, or `at` in milliseconds since 1970; `condition` as PEXPIRE has it since Redis 7. */
export interface Expiry {
  readonly ttlMs?: number | undefined
  readonly at?: number | undefined
  readonly condition?: 'nx' | 'xx' | 'gt' | 'lt' | undefined
}

/** Whether there was something to change, and what the key it ended in has left: `null` never expires. */
export interface KeyChanged {
  readonly changed: boolean
  readonly ttl_ms: number | null
}

/** How keys of any type come to an end or get another name. */
export interface Lifecycle {
  /** Throws `NOT_FOUND`, `DB_CONFLICT` for a name that is taken, `DB_UNSUPPORTED` for what the server's version lacks. */
  change(key: RedisValue, change: KeyChange, call: Call): Promise<KeyChanged>
  /** Answers whether there was such a key; its memory is freed in the background. */
  remove(key: RedisValue, call: Call): Promise<boolean>
}

export function createLifecycle({ shared }: Lanes): Lifecycle {
  return { change, remove }

  async function change(name: RedisValue, wanted: KeyChange, call: Call): Promise<KeyChanged> {
    const key = toArgument(name)
    const command = commandOf(key, wanted)
    const left = 'rename' in wanted ? toArgument(wanted.rename.to) : key
    const outcomes = await shared.each(call, 'writes', ['exists', key], command, ['pttl', left])
    const [existed, done, ttl] = outcomes
    if (replyOf(existed) === '0') throw noSuchKey()
    if (done !== undefined && 'error' in done) return throwFailure(done.error, shared, call, command)
    const changed = replyOf(done) !== '0'
    if (!changed && ('rename' in wanted || 'copy' in wanted))
      throw new ApiError('DB_CONFLICT', 'There is a key of the new name already. Nothing was changed.')
    return { changed, ttl_ms: ttlOf(replyOf(ttl)) }
  }

  async function remove(name: RedisValue, call: Call): Promise<boolean> {
    const [removed] = await shared.send(call, 'writes', ['unlink', toArgument(name)])
    return removed !== '0'
  }
}

function commandOf(key: string | Buffer, change: KeyChange): BatchCommand {
  if ('persist' in change) return ['persist', key]
  if ('rename' in change) return [change.rename.overwrite ? 'rename' : 'renamenx', key, toArgument(change.rename.to)]
  if ('copy' in change) {
    const { to, database, replace } = change.copy
    const options = [...(database === undefined ? [] : ['DB', String(database)]), ...(replace ? ['REPLACE'] : [])]
    return ['copy', key, toArgument(to), ...options]
  }
  const { ttlMs, at, condition } = change.expire
  const flags = condition === undefined ? [] : [condition]
  return at === undefined ? ['pexpire', key, String(ttlMs), ...flags] : ['pexpireat', key, String(at), ...flags]
}

function replyOf(outcome: Outcome | undefined): string {
  if (outcome === undefined) return ''
  if ('error' in outcome) throw outcome.error
  return String(outcome.reply)
}
