import { randomBytes } from 'node:crypto'

/** A new key's secret and the public part of it. */
export interface NewSecret {
  readonly prefix: string
  readonly secret: string
}

const base32 = 'abcdefghijklmnopqrstuvwxyz234567'
const start = 'bak_'
const prefixEnd = start.length + 12
const form = /^bak_[a-z2-7]{12}_[\w-]{43}$/

/** `bak_<12 of base32>_<32 random bytes as base64url>`. */
export function newSecret(): NewSecret {
  const prefix = Array.from(randomBytes(12), (byte) => base32.charAt(byte & 31)).join('')
  return { prefix, secret: `${start}${prefix}_${randomBytes(32).toString('base64url')}` }
}

/** The public part of a secret; `undefined` for text that is no secret of ours. */
export function prefixOf(secret: string): string | undefined {
  return form.test(secret) ? secret.slice(start.length, prefixEnd) : undefined
}
