import { createNetwork } from '../engines/dial.ts'
import { callWithin, untilAborted } from '../engines/engine.ts'
import { type Connection, openConnection } from '../engines/redis/wire/connection.ts'
import { redis } from '../engines/redis/engine.ts'
import { parseTarget } from '../engines/target.ts'
import type { Log } from '../log.ts'

export interface SharedNamesOptions {
  readonly url: string
  readonly log: Log
  /** The hash in Redis that holds a name of each instance. */
  readonly key: string
}

/**
 * The generation of what instances share through Redis: a random name of each of them, together. Whoever hears or makes a change gives
 * itself a new name, and uses nothing until Redis has it. Nobody can foresee a name, so whatever was made by somebody who saw it was made
 * after that change was known, whoever writes to that Redis, and whatever it lost, kept or was restored to.
 */
export interface SharedNames {
  /** Where to ask; `undefined` while this instance's name is not in Redis. */
  readonly connection: Connection | undefined
  /** Counts the names this instance has wanted. */
  readonly wanted: number
  /** The generation that names make, as Redis has them; `undefined`, and a new one, where this instance's own is not among them. */
  generationOf(names: Readonly<Record<string, string>> | undefined): string | undefined
  outdate(): void
  /** Leaves a connection that did not answer. */
  leave(connection: Connection): void
  close(): Promise<void>
}

const connectTimeoutMs = 2_000
const nameTimeoutMs = 1_000
const goodbyeMs = 100
const retryMs = 500
const namesTtlMs = 86_400_000
/** Names of instances that went without a word stay for a day; beyond so many all begin anew. */
const maxNames = 256
const maxReplyBytes = 16_777_216

export function createSharedNames({ url, log, key }: SharedNamesOptions): SharedNames {
  const target = parseTarget(redis, url, {})
  // The operator's own store: no dial policy.
  const network = createNetwork({ ...target, connectTimeoutMs })
  const instance = crypto.randomUUID()
  const closing = new AbortController()
  let connection: Connection | undefined
  let own = ''
  let wanted = 0
  let named = -1
  let wake = Promise.withResolvers<void>()
  const keeping = keepUp()
  return {
    get connection() {
      return named === wanted && connection?.closed === false ? connection : undefined
    },
    get wanted() {
      return wanted
    },
    generationOf(names = {}) {
      const sorted = Object.entries(names).sort(([one], [other]) => (one < other ? -1 : 1))
      if (names[instance] === own && sorted.length <= maxNames) return JSON.stringify(sorted)
      outdate()
      return undefined
    },
    outdate,
    leave,
    async close() {
      closing.abort()
      wake.resolve()
      await keeping
    },
  }

  function outdate(): void {
    wanted += 1
    if (connection) wake.resolve()
  }

  // Connected again after a pause: one that is only slow would be so at once.
  function leave(left: Connection): void {
    if (connection === left) connection = undefined
    void left.close()
  }

  /** Holds a connection, and takes a new name whenever one is wanted. */
  async function keepUp(): Promise<void> {
    let told = false
    while (!closing.signal.aborted) {
      wake = Promise.withResolvers()
      try {
        if (connection?.closed !== false) connection = await connect()
        const naming = wanted
        if (naming !== named) await takeName(connection)
        named = naming
        if (told) log.info('shared cache is used again', {})
        told = false
      } catch (error) {
        if (!told && !closing.signal.aborted) log.warn('shared cache is not used', {}, error)
        told = true
        if (connection) leave(connection)
      }
      if (named !== wanted && connection?.closed === false) continue
      await Promise.race([wake.promise, pause(retryMs)])
    }
    if (connection?.closed !== false) return
    using call = callWithin(goodbyeMs)
    await untilAborted(connection.client.hdel(key, instance), call.signal).catch(() => undefined)
    await connection.close()
  }

  async function connect(): Promise<Connection> {
    using call = callWithin(connectTimeoutMs, closing.signal)
    const opened = await openConnection({ ...target, ...network }, maxReplyBytes, call)
    const held = await untilAborted(opened.client.hget(key, instance), call.signal).catch(() => undefined)
    if (held !== own) wanted += 1
    return opened
  }

  async function takeName({ client, answered }: Connection): Promise<void> {
    using call = callWithin(nameTimeoutMs, closing.signal)
    const name = crypto.randomUUID()
    if ((await untilAborted(client.hlen(key), call.signal)) >= maxNames)
      await untilAborted(client.del(key), call.signal)
    const naming = client.multi().hset(key, instance, name).pexpire(key, namesTtlMs).exec()
    const failed = (await untilAborted(naming, call.signal))?.find(([error]) => error !== null)
    if (failed) throw failed[0]
    answered()
    own = name
  }

  async function pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    timer.unref()
    await promise
  }
}
