import { createHmac, createSecretKey, hkdfSync, timingSafeEqual, type KeyObject } from 'node:crypto'

const { subtle } = globalThis.crypto

const encoder = new TextEncoder()

/** One sealing key: its public id (8 hex digits) and the non-extractable AES-256-GCM key. */
export interface Key {
  readonly kid: string
  readonly aes: CryptoKey
}

/** The keys of one process. Raw bytes are gone once it is made; nothing on it gives them back. */
export interface Keyring {
  /** Every key id, the current one's first. */
  readonly kids: readonly string[]
  /** The key that seals: the engine's own where one is set, else the common one. */
  current(engine?: string): Key
  /** Any key of the ring, current, previous or an engine's. */
  byKid(kid: string): Key | undefined
  /** HMAC-SHA256 as base64url under the current key; `purpose` is a constant of the code, and each has a key of its own. */
  mac(purpose: string, data: string): string
  /** Whether `mac` was made for this purpose and data under the current or a previous key; in constant time. */
  verifyMac(purpose: string, data: string, mac: string): boolean
}

/** Raw 32-byte keys, as `parseKeyMaterial` gives them; strength is judged there, not here. The caller's arrays stay as they are. */
export interface KeyringKeys {
  readonly current: Uint8Array
  readonly previous?: readonly Uint8Array[]
  /** Keys that seal for one engine instead of the current one, by engine kind. */
  readonly engines?: Readonly<Partial<Record<string, Uint8Array>>>
}

interface DerivedKey {
  readonly key: Key
  readonly mac: (purpose: string, data: string) => Buffer
}

/** Derives every key once; throws a `TypeError` for a key that is not 32 bytes, or for two keys that share an id. */
export async function createKeyring(keys: KeyringKeys): Promise<Keyring> {
  const common = await Promise.all([keys.current, ...(keys.previous ?? [])].map(derive))
  const engines = new Map<string, DerivedKey>()
  for (const [engine, raw] of Object.entries(keys.engines ?? {})) if (raw) engines.set(engine, await derive(raw))

  const byKid = new Map<string, DerivedKey>()
  for (const derived of [...common, ...engines.values()]) {
    const { kid } = derived.key
    const same = byKid.get(kid)
    // The same key may be listed twice; another key with its id would make that id ambiguous for ever.
    if (same && !timingSafeEqual(same.mac('kid', ''), derived.mac('kid', ''))) {
      throw new TypeError(`Two different keys have the id ${kid}: replace one of them`)
    }
    if (!same) byKid.set(kid, derived)
  }
  const [current] = common
  if (!current) throw new TypeError('A keyring needs a current key')

  return Object.freeze({
    kids: [...byKid.keys()],
    current: (engine?: string) => ((engine !== undefined && engines.get(engine)) || current).key,
    byKid: (kid: string) => byKid.get(kid)?.key,
    mac: (purpose: string, data: string) => current.mac(purpose, data).toString('base64url'),
    verifyMac(purpose: string, data: string, mac: string) {
      const given = Buffer.from(mac)
      // Texts are compared, not bytes: several base64url texts decode to the same bytes. No early end: time tells no key.
      return common.reduce((found, derived) => {
        const expected = Buffer.from(derived.mac(purpose, data).toString('base64url'))
        return (given.length === expected.length && timingSafeEqual(given, expected)) || found
      }, false)
    },
  })
}

async function derive(raw: Uint8Array): Promise<DerivedKey> {
  if (raw.length !== 32) throw new TypeError('A key must be exactly 32 bytes')
  const copy = Uint8Array.from(raw)
  try {
    const base = await subtle.importKey('raw', copy, 'HKDF', false, ['deriveKey', 'deriveBits'])
    const aes = { name: 'AES-GCM', length: 256 }
    const [kid, sealing, macs] = await Promise.all([
      subtle.deriveBits(hkdf('kid/v1'), base, 32),
      subtle.deriveKey(hkdf('credentials/v1'), base, aes, false, ['encrypt', 'decrypt']),
      subtle.deriveBits(hkdf('mac/v1'), base, 256),
    ])
    const key = Object.freeze({ kid: Buffer.from(kid).toString('hex'), aes: sealing })
    return { key, mac: macsOf(new Uint8Array(macs)) }
  } finally {
    copy.fill(0)
  }
}

function hkdf(info: string) {
  return { name: 'HKDF', hash: 'SHA-256', salt: encoder.encode('bun-api'), info: encoder.encode(info) }
}

/** MACs below a root of their own, so that what stays in memory for new purposes cannot give the sealing key. */
function macsOf(rootBytes: Uint8Array): DerivedKey['mac'] {
  const root = createSecretKey(rootBytes)
  rootBytes.fill(0)
  const purposes = new Map<string, KeyObject>()
  return (purpose, data) => {
    let key = purposes.get(purpose)
    if (!key) {
      key = createSecretKey(new Uint8Array(hkdfSync('sha256', root, 'bun-api', `${purpose}/v1`, 32)))
      purposes.set(purpose, key)
    }
    return createHmac('sha256', key).update(data).digest()
  }
}
