import { ApiError } from '../../../errors.ts'
import { timedOut } from '../../dial-errors.ts'
import type { Call, Limits } from '../../engine.ts'
import { lostUnanswered } from '../../read-retries.ts'
import type { HostPort } from '../../srv.ts'
import type { Target } from '../../target.ts'
import type { Commands } from '../commands.ts'
import { type Connection, openConnection } from './connection.ts'
import { isTooLarge, replyCode, translate, writeLost, writeTimedOut, writeTooLarge } from '../errors.ts'
import { createExchanges, type Exchange } from './exchange.ts'

/** Where commands run, in one logical database. */
export interface Link {
  readonly commands: Commands
  /** Also once the server turned out to be a replica: the name may lead to the new primary already, so the next caller dials anew. */
  readonly closed: boolean
  close(): Promise<void>
}

/** One connection with the commands that run on it. */
export interface Channel extends Link {
  readonly connection: Connection
}

const replicaRetryMs = 1_000

/** Connects to the target's first host or the one given, and translates how each exchange ends. */
export async function openChannel(target: Target, limits: Limits, call: Call, to?: HostPort): Promise<Channel> {
  const connection = await openConnection(target, limits.maxResponseBytes + limits.maxValueBytes, call, to)
  const openedAt = performance.now()
  let hung = false
  let demoted = false
  const commands = createExchanges(connection.takeOver(), {
    commandTimeoutMs: limits.commandTimeoutMs,
    answered: () => connection.answered(),
    late(exchange, waitedLong) {
      // A server that has said nothing since it was sent is taken for gone, and the connection is given up.
      if (waitedLong && connection.lastHeard < exchange.sent) {
        hung = true
        void connection.close()
      }
      return late(exchange)
    },
    failed: (exchange, error) => (hung ? late(exchange, error) : lost(error, exchange)),
  })
  return {
    connection,
    commands,
    get closed() {
      return demoted || connection.closed
    },
    close: () => connection.close(),
  }

  function lost(error: unknown, { effect, sent }: Exchange): ApiError {
    if (replyCode(error) === undefined) {
      const { failure } = connection
      if (effect === 'writes') return isTooLarge(failure) ? writeTooLarge(failure) : writeLost(error)
      const reason = translate(failure instanceof ApiError ? failure : error)
      return connection.closed && connection.lastHeard < sent ? lostUnanswered(reason) : reason
    }
    connection.answered()
    const translated = translate(error)
    if (translated.code === 'DB_NOT_PRIMARY' && performance.now() - openedAt > replicaRetryMs) demoted = true
    return translated
  }
}

function late({ effect }: Exchange, cause?: unknown): ApiError {
  return effect === 'reads' ? timedOut('Redis did not answer in time.', cause) : writeTimedOut(cause)
}
