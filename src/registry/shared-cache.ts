import { createHash } from 'node:crypto'
import type { Config } from '../config.ts'
import type { Keyring } from '../credentials/keyring.ts'
import type { Log } from '../log.ts'
import type { Behind } from './read-cache.ts'
import { createSharedEntries } from './shared-entries.ts'
import { createSharedNames } from './shared-names.ts'

export interface SharedCacheOptions {
  readonly url: string
  readonly log: Log
  /** How long a value is kept, in milliseconds. */
  readonly ttlMs: number
  /** What tells this registry from others that share the Redis: never two registries the same. */
  readonly namespace: string
  readonly keyring: Pick<Keyring, 'mac'>
  /** What a request may lose by it: one such wait in milliseconds, and none while Redis is not answering. 7 unless given. */
  readonly patienceMs?: number
}

/** How values of a kind are written as JSON, where they are none. */
export interface JsonForm<V, J> {
  readonly toJson: (value: V) => J
  readonly fromJson: (json: J) => V
}

/** A cache all instances share: values in Redis, sealed, each of the generation in which it was read. */
export interface SharedCache extends AsyncDisposable {
  /** The values of one kind. */
  of<V, J = V>(kind: string, form?: JsonForm<V, J>): Behind<V>
  /** Makes all that is kept unreachable for every instance: a change was heard, or may have been missed. */
  outdate(): void
  /** Whether it is asked at all at this moment. */
  readonly usable: boolean
  close(): Promise<void>
}

const defaultPatienceMs = 7
const graceMs = 3
/** By which the clocks of instances may differ: what seems to be read later than that is nobody's. */
const clockSkewMs = 1_000
const maxValueLength = 262_144

/**
 * A value counts in the generation that was current before it was read from the registry (`SharedNames`) and until `ttlMs` later, which it
 * says itself, under its seal (`SharedEntries`): whoever can write to that Redis can take values away, and nothing else.
 */
export function createSharedCache(options: SharedCacheOptions): SharedCache {
  const { url, log, ttlMs, namespace, keyring, patienceMs = defaultPatienceMs } = options
  const namesKey = `bun-api:${namespace}:names`
  const names = createSharedNames({ url, log, key: namesKey })
  const entries = createSharedEntries(keyring, namespace)
  return {
    of: <V, J>(kind: string, form?: JsonForm<V, J>): Behind<V> => ({
      async through(key, load) {
        const found = names.connection && (await look(entries.nameOf(kind, key)))
        if (found?.kept) {
          const json = JSON.parse(found.kept.json)
          return { value: form ? form.fromJson(json) : json, ageMs: found.kept.ageMs, copied: true }
        }
        const readAt = Date.now()
        const value = await load()
        if (value !== undefined && found) keep(found, readAt, JSON.stringify(form ? form.toJson(value) : value))
        return { value, ageMs: 0, copied: false }
      },
    }),
    outdate: () => names.outdate(),
    get usable() {
      return names.connection !== undefined
    },
    close: () => names.close(),
    [Symbol.asyncDispose]: () => names.close(),
  }

  interface Found {
    readonly name: string
    readonly generation: string
    readonly kept: { readonly json: string; readonly ageMs: number } | undefined
  }

  /** What is kept, or the generation to keep it in; `undefined` where Redis is of no use now. */
  async function look(name: string): Promise<Found | undefined> {
    const { connection: asked, wanted } = names
    if (asked === undefined) return undefined
    const reply = await within(patienceMs, asked.client.multi().hgetall(namesKey).getBuffer(name).pttl(name).exec())
    if (!reply) return void names.leave(asked)
    asked.answered()
    const [held, entry, left] = reply.map(([, result]) => result) as [Record<string, string>?, Buffer?, string?]
    // A change was heard meanwhile.
    if (names.wanted !== wanted) return undefined
    const generation = names.generationOf(held)
    return generation === undefined ? undefined : { name, generation, kept: keptIn(name, generation, entry, left) }
  }

  function keptIn(name: string, generation: string, entry: Buffer | null | undefined, left: unknown): Found['kept'] {
    const opened = entry ? entries.open(name, generation, entry) : undefined
    if (opened === undefined) return undefined
    const leftMs = Number(left)
    const sinceRead = Date.now() - opened.readAt
    // Ours always go by themselves, and none comes from the future.
    if (!(leftMs >= 0 && leftMs <= ttlMs) || sinceRead < -clockSkewMs) return undefined
    const ageMs = Math.max(0, sinceRead, ttlMs - leftMs)
    return ageMs < ttlMs ? { json: opened.json, ageMs } : undefined
  }

  function keep({ name, generation }: Found, readAt: number, json: string): void {
    const to = names.connection
    if (json.length > maxValueLength || to === undefined) return
    to.client.set(name, entries.seal(name, generation, readAt, json), 'PX', ttlMs).then(
      () => to.answered(),
      () => undefined,
    )
  }
}

/** The outcome within so many milliseconds; `undefined` for what is late or failed. */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>()
  // Once more when it is over: it may be this process that stood still, with the answer waiting in its socket.
  let timer = setTimeout(() => (timer = setTimeout(resolve, graceMs)), ms)
  return await Promise.race([work.catch(() => undefined), late]).finally(() => clearTimeout(timer))
}

/** The one on `CACHE_REDIS_URL` for instances of a release. The embedded registry has one process, and needs none. */
export function openSharedCache(
  { DATABASE_URL, CACHE_REDIS_URL: url, CACHE_TTL }: Pick<Config, 'DATABASE_URL' | 'CACHE_REDIS_URL' | 'CACHE_TTL'>,
  keyring: Keyring,
  log: Log,
  release: string,
): SharedCache | undefined {
  if (DATABASE_URL === undefined || url === undefined || CACHE_TTL === 0) return undefined
  const namespace = registryNamespace(DATABASE_URL, keyring.kids, release)
  return createSharedCache({ url, log, ttlMs: CACHE_TTL * 1000, namespace, keyring })
}

/**
 * What names a registry among those that share a Redis: where it is and who asks it, and the key its credentials are sealed with; no
 * password. Each release has its own: values of another may have another form.
 */
export function registryNamespace(databaseUrl: string, kids: readonly string[], release: string): string {
  const { username, host, pathname } = new URL(databaseUrl)
  return createHash('sha256')
    .update(JSON.stringify([username, host, pathname, kids[0], release]))
    .digest('base64url')
}
