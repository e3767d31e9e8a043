import { createLocalJWKSet, errors, type JWTVerifyGetKey } from 'jose'
import { ApiError } from '../errors.ts'

export interface KeySetOptions {
  /** How long keys are used before they are asked for again; 10 minutes unless given. */
  readonly maxAgeMs?: number
  /** How long they are used while their server does not answer; 1 hour unless given. */
  readonly maxStaleMs?: number
  /** The least time between two questions, whatever tokens name; 30 seconds unless given. */
  readonly cooldownMs?: number
  readonly timeoutMs?: number
}

const retryMs = 1_000
/** Far more than any set of keys takes. */
const maxBytes = 65_536

/**
 * Keys of the set at an URL of the operator's own: fetched when first needed, when old, and when a token names one that is not there.
 * On the monotonic clock, since a wall clock that is set back would stop all of it. Throws `REGISTRY_UNAVAILABLE` without any keys.
 */
export function createKeySet(url: string, options: KeySetOptions = {}): JWTVerifyGetKey {
  const { maxAgeMs = 600_000, maxStaleMs = 3_600_000, cooldownMs = 30_000, timeoutMs = 5_000 } = options
  let keys: JWTVerifyGetKey | undefined
  let loadedAt = Number.NEGATIVE_INFINITY
  let askedAt = Number.NEGATIVE_INFINITY
  let asking: Promise<void> | undefined

  return async function keyOf(header, token) {
    // Without a name the set would answer whichever key fits.
    if (typeof header.kid !== 'string') throw new errors.JWKSNoMatchingKey()
    if (age() > maxAgeMs) await refresh()
    try {
      return await known()(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      const before = loadedAt
      await refresh()
      if (loadedAt === before) throw error
      return await known()(header, token)
    }
  }

  function age(): number {
    return performance.now() - loadedAt
  }

  function known(): JWTVerifyGetKey {
    if (keys === undefined || age() > maxStaleMs) throw unavailable()
    return keys
  }

  async function refresh(): Promise<void> {
    const wait = keys === undefined ? retryMs : cooldownMs
    if (asking === undefined && performance.now() - askedAt < wait) return
    asking ??= load().finally(() => (asking = undefined))
    await asking
  }

  async function load(): Promise<void> {
    askedAt = performance.now()
    try {
      const response = await fetch(url, {
        headers: { accept: 'application/json' },
        redirect: 'manual',
        // HTTP_PROXY is not for what decides who may come in. Bun's types know no way to say so.
        proxy: false as never,
        signal: AbortSignal.timeout(timeoutMs),
      })
      const text = response.status === 200 ? await readText(response) : await response.body?.cancel()
      if (text === undefined) return
      keys = createLocalJWKSet(JSON.parse(text))
      loadedAt = performance.now()
    } catch {
      // The keys of before are used until they are too old.
    }
  }
}

/** `undefined`, and nothing more is read, for a body beyond `maxBytes`. */
async function readText({ body }: Response): Promise<string | undefined> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body ?? []) {
    length += chunk.length
    // Leaving the loop cancels the body, and so the fetch.
    if (length > maxBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function unavailable(): ApiError {
  return new ApiError('REGISTRY_UNAVAILABLE', 'The keys that verify tokens can not be fetched. Try again shortly.')
}
