const keyBytes = 32

const makeOne = 'make one with `openssl rand -hex 32`'

/** Values printed in public documents: this project's and Supabase's examples, in lower case. */
const publishedTexts: ReadonlySet<string> = new Set([
  'sample_key',
  '3b34c406cca1217f7762867a75bf89e8a14bf8adbd29bea4ff874990131b7521',
  'upnvntn3cdxhjpq99ymc1t1aqgqpc8kfytursgbiyya15blrx8etqoxz3gzv1/u2oq',
])

/** Published 32-byte keys that look random: the example above, the AES-256 key of NIST SP 800-38A, SHA-256 of nothing. */
const publishedKeys: ReadonlySet<string> = new Set([
  '3b34c406cca1217f7762867a75bf89e8a14bf8adbd29bea4ff874990131b7521',
  '603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4',
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
])

const placeholder =
  /^your[-_ ]|change[-_ ]?(me|this)|replace[-_ ]?(me|this|with)|example|placeholder|insecure|password|super[-_ ]?secret|key[-_]32[-_]chars/i

/** What `parseKeyMaterial` answers; `problem` is a sentence that never holds the value. */
export type KeyMaterial =
  { readonly ok: true; readonly bytes: Uint8Array } | { readonly ok: false; readonly problem: string }

/**
 * Reads a sealing key: exactly 32 bytes as 64 hex digits, base64 or base64url. Refuses published values, placeholders,
 * and bytes estimated below 128 bits of entropy.
 */
export function parseKeyMaterial(text: string): KeyMaterial {
  if (isPublished(text)) return { ok: false, problem: `The key is a published or example value; ${makeOne}` }
  const bytes = decode(text)
  if (!bytes) {
    return { ok: false, problem: `The key must be exactly 32 bytes, as 64 hex digits or base64; ${makeOne}` }
  }
  const problem = weaknessOf(bytes)
  if (problem === undefined) return { ok: true, bytes }
  bytes.fill(0)
  return { ok: false, problem }
}

/** Why a service key (`BUN_API_KEY`) is refused in production, as a sentence that never holds it; undefined when it is good. */
export function checkServiceKey(text: string): string | undefined {
  if (isPublished(text)) return `The service key is a published or example value; ${makeOne}`
  if (text.length < 32) return `The service key must have at least 32 characters; ${makeOne}`
  // It travels in a header, where anything else is refused or changed on its way.
  if (!/^[\x21-\x7e]+$/.test(text))
    return `The service key must be visible ASCII characters, without spaces; ${makeOne}`
  const codes = Uint8Array.from(text, (character) => character.charCodeAt(0))
  if (new Set(codes).size < 10 || repeats(codes) || entropyOf(differences(codes)) < 2) {
    return `The service key is too predictable; ${makeOne}`
  }
  return undefined
}

function isPublished(text: string): boolean {
  return publishedTexts.has(text.trim().toLowerCase()) || placeholder.test(text.trim())
}

function decode(text: string): Uint8Array | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Uint8Array.from(Buffer.from(text, 'hex'))
  if (!/^(?:[A-Za-z0-9+/]{43}|[A-Za-z0-9_-]{43})=?$/.test(text)) return undefined
  const buffer = Buffer.from(text, 'base64url')
  // Another last character would decode to the same bytes; only the canonical one is what the owner's tool printed.
  const canonical = text.replace('=', '').replaceAll('+', '-').replaceAll('/', '_')
  return buffer.length === keyBytes && buffer.toString('base64url') === canonical ? Uint8Array.from(buffer) : undefined
}

function weaknessOf(bytes: Uint8Array): string | undefined {
  if (publishedKeys.has(Buffer.from(bytes).toString('hex'))) return `The key is a published value; ${makeOne}`
  // 4 bits a byte over 32 bytes are 128 bits. Random bytes measure about 4.8; fewer than one in a million falls short.
  const steps = differences(bytes)
  const perByte = Math.min(entropyOf(bytes), entropyOf(steps), entropyOf(differences(steps)))
  if (perByte < 4) {
    return `The key is too predictable (below 128 bits of estimated entropy); ${makeOne}`
  }
  if (bytes.every(isText)) return `The key is readable text, not 32 random bytes; ${makeOne}`
  return undefined
}

function isText(byte: number): boolean {
  return (byte >= 0x20 && byte < 0x7f) || byte === 0 || (byte >= 0x09 && byte <= 0x0d)
}

/** Shannon entropy of the values' own frequencies, in bits per value, at most log2 of their number. */
function entropyOf(values: Uint8Array): number {
  const counts = new Map<number, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return counts.values().reduce((bits, count) => bits - (count / values.length) * Math.log2(count / values.length), 0)
}

/** Steps between neighbours modulo 256: a counting sequence becomes one repeated value. */
function differences(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes.subarray(1), (byte, index) => byte - (bytes[index] ?? 0))
}

function repeats(codes: Uint8Array): boolean {
  for (let period = 1; period <= codes.length / 2; period++) {
    if (codes.every((code, index) => code === codes[index % period])) return true
  }
  return false
}
