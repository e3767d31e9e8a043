import { ApiError, readOnlyDatabase } from '../../errors.ts'
import { failed, timedOut } from '../dial-errors.ts'
import {
  type Call,
  callWithin,
  type Limits,
  remainingMs,
  type ServerInfo,
  type Session,
  untilAborted,
} from '../engine.ts'
import type { Target } from '../target.ts'
import { openConnection } from './connection.ts'
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
  const openedAt = performance.now()
  let hung = false
  // The name may lead to the new primary already: the next caller gets a new connection.
  let demoted = false
  const session: RedisSession = {
    get closed() {
      return demoted || connection.closed
    },
    async ping(pinging) {
      await run(pinging, true, () => client.ping())
    },
    info: readInfo,
    scan: (request, scanning) => scanKeys(client, (command) => run(scanning, true, command), request),
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

  /** Bounds one command. A server that has said nothing since it was sent is taken for gone, and the connection is given up. */
  async function run<T>(running: Call, readOnly: boolean, command: () => Promise<T>): Promise<T> {
    const leftMs = remainingMs(running)
    using bounded = callWithin(Math.min(limits.commandTimeoutMs, leftMs), running.signal)
    const sent = performance.now()
    try {
      const reply = await untilAborted(command(), bounded.signal)
      connection.answered()
      return reply
    } catch (error) {
      if (!bounded.signal.aborted && !hung) throw lost(error, readOnly)
      const waitedLong = !running.signal.aborted && leftMs >= limits.commandTimeoutMs
      if (waitedLong && connection.lastHeard < sent) {
        hung = true
        await connection.close()
      }
      throw readOnly ? timedOut('Redis did not answer in time.', error) : writeTimedOut(error)
    }
  }

  function lost(error: unknown, readOnly: boolean): ApiError {
    if (replyCode(error) === undefined)
      return readOnly
        ? translate(connection.failure instanceof ApiError ? connection.failure : error)
        : writeLost(error)
    connection.answered()
    const translated = translate(error)
    if (translated.code === 'DB_NOT_PRIMARY' && performance.now() - openedAt > replicaRetryMs) demoted = true
    return translated
  }

  async function get(name: RedisValue, encoding: Encoding, running: Call): Promise<StringEntry> {
    const key = toBytes(name)
    // A bounded range first, so that a huge value costs neither side more than the cap; all in one pipeline. Another client may write in
    // between: what is not there at the end, or longer than was read at any time, is not answered.
    const [bytes, length, ttl] = await run(running, true, () =>
      Promise.all([client.getrangeBuffer(key, 0, limits.maxValueBytes), client.strlen(key), client.pttl(key)]),
    )
    if (Number(ttl) === -2) throw new ApiError('NOT_FOUND', 'There is no such key.')
    if (Math.max(bytes.length, Number(length)) > limits.maxValueBytes) {
      throw new ApiError(
        'RESULT_TOO_LARGE',
        `The value is larger than ${limits.maxValueBytes} bytes, the most one answer may hold.`,
        {
          details: { size_bytes: Math.max(bytes.length, Number(length)) },
        },
      )
    }
    return { key: fromBytes(key, encoding), type: 'string', value: fromBytes(bytes, encoding), ttl_ms: ttlOf(ttl) }
  }

  async function set(request: SetRequest, running: Call): Promise<boolean> {
    if (target.config['readOnly'] === true) throw readOnlyDatabase()
    const flags: string[] = []
    if (request.ttlMs !== undefined) flags.push('PX', String(request.ttlMs))
    if (request.keepTtl) flags.push('KEEPTTL')
    if (request.nx) flags.push('NX')
    if (request.xx) flags.push('XX')
    const reply = await run(running, false, () =>
      client.set(toBytes(request.key), toBytes(request.value), ...(flags as [])),
    )
    return reply !== null
  }

  async function readText(asking: Call, section?: string): Promise<string> {
    const reply: unknown = await run(asking, true, () => (section === undefined ? client.info() : client.info(section)))
    if (typeof reply === 'string') return reply
    throw failed('protocol', 'The server answers INFO as no Redis does. Check port and type.')
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
