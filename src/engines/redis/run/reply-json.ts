import { ApiError, type ErrorCode } from '../../../errors.ts'
import type { Reply } from '../wire/batch.ts'
import type { Outcome } from '../commands.ts'
import { translate } from '../errors.ts'
import { type Encoding, fromBytes, type RedisValue } from '../values.ts'

/**
 * A reply as JSON, each RESP type in a form of its own: strings as `RedisValue`, integers as numbers where a double holds them and else as
 * `{ integer }` in decimal, nothing as `null`, errors as `{ error }`.
 */
export type ReplyJson =
  RedisValue | number | { readonly integer: string } | { readonly error: ReplyError } | null | readonly ReplyJson[]

/** An error as the one error shape has it; `details.code` is Redis' own. */
export interface ReplyError {
  readonly code: ErrorCode
  readonly message: string
  readonly details?: unknown
}

/** What became of one command of several. */
export type Result = { readonly result: ReplyJson } | { readonly error: ReplyError }

export function replyJson(reply: Reply, encoding: Encoding): ReplyJson {
  if (reply === null) return null
  if (reply instanceof Buffer) return fromBytes(reply, encoding)
  if (reply instanceof Error) return { error: replyError(reply) }
  if (isArray(reply)) return reply.map((item) => replyJson(item, encoding))
  const number = Number(reply)
  return Number.isSafeInteger(number) ? number : { integer: String(reply) }
}

/** An outcome, or a reply with errors in it, as one result. */
export function resultOf(outcome: Outcome, encoding: Encoding): Result {
  if ('error' in outcome) return { error: replyError(outcome.error) }
  if (outcome.reply instanceof Error) return { error: replyError(outcome.reply) }
  return { result: replyJson(outcome.reply, encoding) }
}

function isArray(reply: Reply): reply is readonly Reply[] {
  return Array.isArray(reply)
}

function replyError(error: Error): ReplyError {
  const { code, message, details } = error instanceof ApiError ? error : translate(error)
  return { code, message, ...(details === undefined ? {} : { details }) }
}
