import { ApiError } from '#src/errors.ts'
import type { Key, Keyring } from './keyring.ts'

const encoder = new TextEncoder()
// A leading U+FEFF is part of the value, and broken UTF-8 is damage.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const canaryPlace = { projectId: '', databaseId: '', field: 'canary' } as const
const canaryText = 'bun-api canary v1'

/** Where a sealed value lives; it opens nowhere else. Ids as the registry stores them: lower-case UUIDs. */
export interface Place {
  readonly projectId: string
  readonly databaseId: string
  /** The column: `connection_string`. */
  readonly field: string
}

/** The parts of `enc:v1:<kid>:<nonce>:<body>`, decoded: 12 bytes of nonce; ciphertext and 16-byte tag in `body`. */
export interface SealedParts {
  readonly kid: string
  readonly nonce: Uint8Array<ArrayBuffer>
  readonly body: Uint8Array<ArrayBuffer>
}

/** Seals with AES-256-GCM under a random nonce, bound to the place: `enc:v1:<kid>:<nonce>:<ciphertext and tag>`. */
export async function sealValue(key: Key, place: Place, plaintext: string): Promise<string> {
  return sealWithNonce(key, place, plaintext, crypto.getRandomValues(new Uint8Array(12)))
}

/** Seals under a given nonce. For the published test vectors only: a nonce used twice under one key breaks both values. */
export async function sealWithNonce(
  key: Key,
  place: Place,
  plaintext: string,
  nonce: Uint8Array<ArrayBuffer>,
): Promise<string> {
  // UTF-8 would turn a lone surrogate into U+FFFD: another credential than the one given.
  if (!plaintext.isWellFormed()) {
    throw new ApiError('VALIDATION_FAILED', 'The value to store is not valid Unicode text.')
  }
  const body = await crypto.subtle.encrypt(algorithm(key.kid, nonce, place), key.aes, encoder.encode(plaintext))
  return `enc:v1:${key.kid}:${toText(nonce)}:${toText(new Uint8Array(body))}`
}

/** Opens a value at the place it was sealed for; throws `DB_CREDENTIALS_UNREADABLE` for everything else, plain text included. */
export async function openValue(ring: Keyring, place: Place, sealed: string): Promise<string> {
  if (!isSealed(sealed)) {
    throw unreadable(
      'The stored credentials were not sealed by this server: run `bun run rewrap`, or store them again.',
    )
  }
  const parts = parseSealed(sealed)
  if (!parts) throw unreadable('The stored credentials are damaged or of a newer version: store them again.')
  const key = ring.byKid(parts.kid)
  if (!key) {
    throw unreadable(
      `The stored credentials are sealed with key ${parts.kid}, which this server does not have: put that key into MULTI_DB_CRYPTO_KEY_PREVIOUS.`,
    )
  }
  try {
    return await openParts(key, place, parts)
  } catch (cause) {
    throw unreadable(
      `The stored credentials do not open with key ${parts.kid}: they were changed or belong to another database; store them again.`,
      cause,
    )
  }
}

/** Whether a stored text claims to be sealed, in any version. Such a value is never tried as legacy or plain text. */
export function isSealed(text: string): boolean {
  return text.startsWith('enc:')
}

/** The parts of a well-formed `enc:v1` text in its one canonical spelling, else undefined. */
export function parseSealed(text: string): SealedParts | undefined {
  // 22 characters are the 16 bytes of a tag alone.
  const [, kid, nonceText, bodyText] = /^enc:v1:([0-9a-f]{8}):([\w-]{16}):([\w-]{22,})$/.exec(text) ?? []
  if (kid === undefined || nonceText === undefined || bodyText === undefined) return undefined
  const nonce = Uint8Array.from(Buffer.from(nonceText, 'base64url'))
  const body = Uint8Array.from(Buffer.from(bodyText, 'base64url'))
  // The last character's unused bits must be zero, or a changed text would still open.
  if (toText(body) !== bodyText) return undefined
  return { kid, nonce, body }
}

/** A value that only this key opens, kept in the registry to tell a wrong key at start. */
export async function sealCanary(key: Key): Promise<string> {
  return sealValue(key, canaryPlace, canaryText)
}

/** Whether this very key sealed the canary; false for any other text, never an error. */
export async function opensCanary(key: Key, sealed: string): Promise<boolean> {
  const parts = parseSealed(sealed)
  if (parts?.kid !== key.kid) return false
  return openParts(key, canaryPlace, parts).then(
    (text) => text === canaryText,
    () => false,
  )
}

async function openParts(key: Key, place: Place, { nonce, body }: SealedParts): Promise<string> {
  return decoder.decode(await crypto.subtle.decrypt(algorithm(key.kid, nonce, place), key.aes, body))
}

function algorithm(kid: string, nonce: Uint8Array<ArrayBuffer>, place: Place) {
  const parts = ['v1', kid, place.projectId, place.databaseId, place.field]
  // Two places must never read the same once joined.
  if (parts.some((part) => part.includes('|'))) throw new TypeError('An id or field of a sealed value holds a |')
  // Pinned: a decryptor that asks for 96 bits accepts a truncated tag.
  return { name: 'AES-GCM', iv: nonce, additionalData: encoder.encode(parts.join('|')), tagLength: 128 }
}

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url')
}

function unreadable(message: string, cause?: unknown): ApiError {
  return new ApiError('DB_CREDENTIALS_UNREADABLE', message, { cause })
}
