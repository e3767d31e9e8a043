import { ApiError, type ErrorCode } from '../../../errors.ts'
import type { Reply } from '../wire/batch.ts'
import type { Outcome } from '../commands.ts'
import { replyTooLarge, translate, writeTooLarge } from '../errors.ts'
import { type Encoding, fromBytes, type RedisValue } from '../values.ts'
import { jsonSize } from './json-size.ts'

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

export function replyJson(reply: Reply, encoding: Encoding, take: Take = () => undefined): ReplyJson {
  if (reply instanceof Buffer) {
    take(jsonSize(reply, encoding))
    return fromBytes(reply, encoding)
  }
  if (isArray(reply)) {
    take(aroundList)
    return reply.map((item) => replyJson(item, encoding, take))
  }
  const json =
    reply === null ? null : reply instanceof Error ? { error: replyError(reply) } : integerJson(String(reply))
  take(sizeOf(json))
  return json
}

/** Is told the bytes of JSON each part of a reply takes, before that part is made. */
type Take = (bytes: number) => void

const aroundList = '[]'.length
const aroundResult = '{"result":}'.length
const aroundResults = '{"results":[]}'.length

/**
 * Each outcome, or a reply that is an error, as one result. `RESULT_TOO_LARGE` where they are more JSON than an answer may hold, in which text
 * may be six times as long as in the reply; that of a write says that it has run.
 */
export function resultsOf(
  outcomes: readonly Outcome[],
  encoding: Encoding,
  maxBytes: number,
  writes: boolean,
): readonly Result[] {
  let left = maxBytes - aroundResults
  // A comma stands behind each but the last.
  const take: Take = (bytes) => {
    left -= bytes + 1
    if (left < 0) throw writes ? writeTooLarge(undefined) : replyTooLarge()
  }
  return outcomes.map((outcome) => {
    const error = 'error' in outcome ? outcome.error : outcome.reply
    if (!(error instanceof Error)) {
      take(aroundResult)
      return { result: replyJson(error, encoding, take) }
    }
    const result = { error: replyError(error) }
    take(sizeOf(result))
    return result
  })
}

function integerJson(reply: string): ReplyJson {
  const number = Number(reply)
  return Number.isSafeInteger(number) ? number : { integer: reply }
}

function sizeOf(json: unknown): number {
  return Buffer.byteLength(JSON.stringify(json))
}

function isArray(reply: Reply): reply is readonly Reply[] {
  return Array.isArray(reply)
}

function replyError(error: Error): ReplyError {
  const { code, message, details } = error instanceof ApiError ? error : translate(error)
  return { code, message, ...(details === undefined ? {} : { details }) }
}
