import { ApiError } from '../../errors.ts'
import { failed, timedOut } from '../dial-errors.ts'
import { assertMayWrite, type Call, type Limits, type ServerInfo, type Session, throwIfOver } from '../engine.ts'
import { lostUnanswered } from '../read-retries.ts'
import type { Target } from '../target.ts'
import { classify } from './command-policy.ts'
import { type CommandTable, readCommandTable } from './command-table.ts'
import { openConnection } from './connection.ts'
import { createExchanges } from './exchange.ts'
import { replyCode, translate, writeLost, writeTimedOut } from './errors.ts'
import { type ScanPage, type ScanRequest, scanKeys, ttlOf } from './keys.ts'
import { infoOf, infoWithoutRights } from './server-info.ts'
import { type Encoding, fromBytes, parseInfo, type RedisValue, toBytes } from './values.ts'

export interface StringEntry {
  readonly key: RedisValue
  readonly type: 'string'
  readonly value: RedisValue
  readonly ttl_ms: number | null
}

export interface SetRequest {
  readonly key: RedisValue
  readonly value: RedisValue
  readonly ttlMs?: number | undefined
  readonly nx?: boolean | undefined
  readonly xx?: boolean | undefined
  readonly keepTtl?: boolean | undefined
}

/** One shared connection: commands of all callers share its pipelines. */
export interface RedisSession extends Session {
  /** A page of keys by SCAN. May be empty, or a little longer than asked for: SCAN answers whole buckets. */
  scan(request: ScanRequest, call: Call): Promise<ScanPage>
  /** A string value; throws `NOT_FOUND`, `DB_QUERY_ERROR` for another type, `RESULT_TOO_LARGE`. */
  get(key: RedisValue, encoding: Encoding, call: Call): Promise<StringEntry>
  /** Answers whether the value was written: `nx` and `xx` may forbid it. */
  set(request: SetRequest, call: Call): Promise<boolean>
  serverInfo(
    section: string | undefined,
    call: Call,
  ): Promise<{ readonly raw: string; readonly parsed: Record<string, Record<string, string>> }>
}

const replicaRetryMs = 1_000

export async function openSession(target: Target, limits: Limits, call: Call): Promise<RedisSession> {
  const connection = await openConnection(target, limits.maxResponseBytes + limits.maxValueBytes, call)
  const { client } = connection
  const maxValueBytes = String(limits.maxValueBytes)
  const openedAt = performance.now()
  let hung = false
  // The name may lead to the new primary already: the next caller gets a new connection.
  let demoted = false
  // Asked for once, and only where it matters.
  let commands: Promise<CommandTable> | undefined
  const { run, send } = createExchanges(client, {
    commandTimeoutMs: limits.commandTimeoutMs,
    answered: () => connection.answered(),
    late({ readOnly, sent }, waitedLong) {
      // A server that has said nothing since it was sent is taken for gone, and the connection is given up.
      if (waitedLong && connection.lastHeard < sent) {
        hung = true
        void connection.close()
      }
      return late(readOnly)
    },
    failed: ({ readOnly, sent }, error) => (hung ? late(readOnly, error) : lost(error, readOnly, sent)),
  })
  const session: RedisSession = {
    get closed() {
      return demoted || connection.closed
    },
    async ping(pinging) {
      await run(pinging, true, () => client.ping())
    },
    info: readInfo,
    scan: (request, scanning) =>
      scanKeys(
        client,
        (command) => run(scanning, true, command),
        () => goOn(scanning),
        request,
      ),
    get,
    set,
    async serverInfo(section, asking) {
      const raw = await readText(asking, section)
      return { raw, parsed: parseInfo(raw) }
    },
    close: () => connection.close(),
    [Symbol.asyncDispose]: () => connection.close(),
  }
  return session

  function late(readOnly: boolean, cause?: unknown): ApiError {
    return readOnly ? timedOut('Redis did not answer in time.', cause) : writeTimedOut(cause)
  }

  function lost(error: unknown, readOnly: boolean, sent: number): ApiError {
    if (replyCode(error) === undefined) {
      if (!readOnly) return writeLost(error)
      const reason = translate(connection.failure instanceof ApiError ? connection.failure : error)
      return connection.closed && connection.lastHeard < sent ? lostUnanswered(reason) : reason
    }
    connection.answered()
    const translated = translate(error)
    if (translated.code === 'DB_NOT_PRIMARY' && performance.now() - openedAt > replicaRetryMs) demoted = true
    return translated
  }

  function get(name: RedisValue, encoding: Encoding, running: Call): Promise<StringEntry> {
    const key = toArgument(name)
    // A range of one byte more than the cap, so that a huge value costs neither side more; both in one pipeline.
    const asked = send(running, true, ['getrange', key, '0', maxValueBytes], ['pttl', key])
    return asked.then(([bytes, ttl]) => {
      if (!(bytes instanceof Buffer)) throw notRedis()
      if (Number(ttl) === -2) throw new ApiError('NOT_FOUND', 'There is no such key.')
      if (bytes.length > limits.maxValueBytes) return refuseLength(key, bytes.length, running)
      return {
        key: encoding === 'utf8' ? name : fromBytes(toBytes(name), encoding),
        type: 'string',
        value: fromBytes(bytes, encoding),
        ttl_ms: ttlOf(Number(ttl)),
      }
    })
  }

  async function refuseLength(key: string | Buffer, read: number, running: Call): Promise<never> {
    const length = Number(await run(running, true, () => client.strlen(key)))
    throw new ApiError(
      'RESULT_TOO_LARGE',
      `The value is larger than ${limits.maxValueBytes} bytes, the most one answer may hold.`,
      { details: { size_bytes: Math.max(read, length) } },
    )
  }

  async function set(request: SetRequest, running: Call): Promise<boolean> {
    if (running.readOnly === true || target.config['readOnly'] === true) await refuseWrite('set', running)
    const flags: string[] = []
    const [key, value] = [toArgument(request.key), toArgument(request.value)]
    if (request.ttlMs !== undefined) flags.push('PX', String(request.ttlMs))
    if (request.keepTtl) flags.push('KEEPTTL')
    if (request.nx) flags.push('NX')
    if (request.xx) flags.push('XX')
    const [reply] = await send(running, false, ['set', key, value, ...flags])
    return reply !== null
  }

  /** Throws `DB_READ_ONLY` where the server's metadata says that the command writes, or nothing at all. */
  async function refuseWrite(command: string, running: Call): Promise<void> {
    commands ??= send(running, true, ['command']).then(([reply]) => readCommandTable(reply))
    const table = await commands.catch(() => undefined)
    if (table === undefined) commands = undefined
    if (table === undefined || classify(table, [command]).writes) assertMayWrite(target, running)
  }

  async function readText(asking: Call, section?: string): Promise<string> {
    const reply: unknown = await run(asking, true, () => (section === undefined ? client.info() : client.info(section)))
    if (typeof reply === 'string') return reply
    throw notRedis()
  }

  async function readInfo(asking: Call): Promise<ServerInfo> {
    try {
      return infoOf(parseInfo(await readText(asking)))
    } catch (error) {
      if (!(error instanceof ApiError) || replyCode(error.cause) !== 'NOPERM') throw error
      return infoWithoutRights
    }
  }
}

function goOn(call: Call): void {
  try {
    throwIfOver(call)
  } catch (error) {
    throw timedOut('The caller left, or its time ran out before the scan was done.', error)
  }
}

function notRedis(): ApiError {
  return failed('protocol', 'The server answers as no Redis does. Check port and type.')
}

function toArgument(value: RedisValue): string | Buffer {
  return typeof value === 'string' ? value : toBytes(value)
}
