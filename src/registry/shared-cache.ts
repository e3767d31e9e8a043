import { createHash } from 'node:crypto'
import { createNetwork } from '../engines/dial.ts'
import { callWithin, untilAborted } from '../engines/engine.ts'
import { type Connection, openConnection } from '../engines/redis/connection.ts'
import { redis } from '../engines/redis/engine.ts'
import { parseTarget } from '../engines/target.ts'
import type { Log } from '../log.ts'
import type { Behind } from './read-cache.ts'

export interface SharedCacheOptions {
  readonly url: string
  readonly log: Log
  /** How long a value is kept, in milliseconds. */
  readonly ttlMs: number
  /** What tells this registry from others that share the Redis: never two registries the same. */
  readonly namespace: string
  /** Whether JSON that was read is a value; what is not is a miss. */
  readonly accepts: (value: unknown) => boolean
}

/** A cache all instances share, for values without secrets: JSON in Redis, each of the generation in which it was read. */
export interface SharedCache<V> extends Behind<V>, AsyncDisposable {
  /** Makes all that is kept unreachable for every instance: a change was heard, or may have been missed. */
  outdate(): void
  /** Whether it is asked at all at this moment. */
  readonly usable: boolean
  close(): Promise<void>
}

// What a request may lose by it: one wait, and none while Redis is not answering.
const patienceMs = 10
const connectTimeoutMs = 2_000
const bumpTimeoutMs = 1_000
const retryMs = 500
const generationTtlMs = 86_400_000
const maxValueLength = 262_144
const maxReplyBytes = 16_777_216

/**
 * A value counts in the generation that was current before it was read from the registry. Whoever hears a change names a new generation, and
 * uses nothing until Redis has it: so nobody who knows of a change finds what is older, whatever Redis lost, kept or was restored to.
 */
export function createSharedCache<V>({ url, log, ttlMs, namespace, accepts }: SharedCacheOptions): SharedCache<V> {
  const target = parseTarget(redis, url, {})
  // The operator's own store: no dial policy.
  const network = createNetwork({ ...target, connectTimeoutMs })
  const generationKey = `bun-api:${namespace}:generation`
  const closing = new AbortController()
  let connection: Connection | undefined
  let wanted = 0
  let named = -1
  let wake = Promise.withResolvers<void>()
  const keeping = keepUp()
  const close = async () => {
    closing.abort()
    wake.resolve()
    await keeping
  }
  const usable = () => connection !== undefined && !connection.closed && named === wanted
  return {
    get usable() {
      return usable()
    },
    through,
    outdate,
    close,
    [Symbol.asyncDispose]: close,
  }

  async function through(key: string, load: () => Promise<V | undefined>) {
    const name = `bun-api:${namespace}:${createHash('sha256').update(key).digest('base64url')}`
    const found = usable() ? await look(name) : undefined
    if (found?.kept) return found.kept
    const value = await load()
    if (value !== undefined && found !== undefined) keep(name, found.generation, value)
    return { value, ageMs: 0 }
  }

  /** What is kept, or the generation to keep it in; `undefined` where Redis is of no use now. */
  async function look(name: string) {
    const asked = connection
    const before = wanted
    if (asked === undefined) return undefined
    const reply = await within(patienceMs, asked.client.multi().mget(generationKey, name).pttl(name).exec())
    if (!reply) return give(asked)
    asked.answered()
    const [texts, left] = reply.map(([, result]) => result) as [(string | null)[]?, string?]
    const generation = texts?.[0]
    // A change was heard meanwhile, or Redis was flushed.
    if (wanted !== before) return undefined
    if (typeof generation !== 'string') return void outdate()
    const kept = texts?.[1]?.startsWith(`${generation} `) ? parse(texts[1].slice(generation.length + 1)) : undefined
    const ageMs = Math.min(ttlMs, Math.max(0, ttlMs - Number(left)))
    return { generation, kept: kept === undefined ? undefined : { value: kept as V, ageMs } }
  }

  function keep(name: string, generation: string, value: V): void {
    const text = JSON.stringify(value)
    const to = connection
    if (text.length > maxValueLength || to === undefined || to.closed) return
    to.client.set(name, `${generation} ${text}`, 'PX', ttlMs).then(
      () => to.answered(),
      () => undefined,
    )
  }

  function parse(text: string): unknown {
    try {
      const value: unknown = JSON.parse(text)
      return accepts(value) ? value : undefined
    } catch {
      return undefined
    }
  }

  function outdate(): void {
    wanted += 1
    if (connection) wake.resolve()
  }

  // Connected again after a pause: one that is only slow would be so at once.
  function give(up: Connection): undefined {
    if (connection === up) connection = undefined
    void up.close()
  }

  /** Holds a connection, and names a new generation whenever one is wanted: also on every new connection, for what was not heard before. */
  async function keepUp(): Promise<void> {
    let told = false
    while (!closing.signal.aborted) {
      wake = Promise.withResolvers()
      try {
        if (connection?.closed !== false) connection = await connect()
        const naming = wanted
        if (naming !== named) await nameGeneration(connection)
        named = naming
        if (told) log.info('shared cache is used again', {})
        told = false
      } catch (error) {
        if (!told && !closing.signal.aborted) log.warn('shared cache is not used', {}, error)
        told = true
        if (connection) give(connection)
      }
      if (named !== wanted && connection?.closed === false) continue
      await Promise.race([wake.promise, pause(retryMs)])
    }
    await connection?.close()
  }

  async function connect(): Promise<Connection> {
    using call = callWithin(connectTimeoutMs, closing.signal)
    wanted += 1
    return await openConnection({ ...target, ...network }, maxReplyBytes, call)
  }

  async function nameGeneration(on: Connection): Promise<void> {
    using call = callWithin(bumpTimeoutMs, closing.signal)
    await untilAborted(on.client.set(generationKey, crypto.randomUUID(), 'PX', generationTtlMs), call.signal)
    on.answered()
  }

  async function pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    timer.unref()
    await promise
  }
}

/** The outcome within so many milliseconds; `undefined` for what is late or failed. */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(resolve, ms)
  return await Promise.race([work.catch(() => undefined), late]).finally(() => clearTimeout(timer))
}

/** What names a registry among those that share a Redis: where it is and who asks it, and the key its credentials are sealed with; no password. */
export function registryNamespace(databaseUrl: string, kids: readonly string[]): string {
  const { username, host, pathname } = new URL(databaseUrl)
  return createHash('sha256')
    .update(JSON.stringify([username, host, pathname, kids[0]]))
    .digest('base64url')
}
