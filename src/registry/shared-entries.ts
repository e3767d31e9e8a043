import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import type { Keyring } from '../credentials/keyring.ts'

/** What is written where others can read and write: what it says is hidden, and nothing is believed that was not written like this. */
export interface SharedEntries {
  /** The name in Redis of a key of a kind: it tells neither. */
  nameOf(kind: string, key: string): string
  /** JSON that was read from the registry at `readAt`, in milliseconds since 1970, for this name and generation alone. */
  seal(name: string, generation: string, readAt: number, json: string): Buffer
  /** `undefined` for all that was not sealed for this very name and generation under the same sealing key. */
  open(name: string, generation: string, entry: Buffer): SharedEntry | undefined
}

export interface SharedEntry {
  readonly readAt: number
  readonly json: string
}

const cipher = 'aes-256-gcm'
const nonceBytes = 12
const tagBytes = 16
// Pinned: a decryptor left to itself accepts a truncated tag.
const options = { authTagLength: tagBytes }

/**
 * AES-256-GCM under a key of each generation, by HKDF and HMAC from the sealing key, so that random nonces never come near to a
 * repetition. The name, which stands for kind and key, is the additional data.
 */
export function createSharedEntries(keyring: Pick<Keyring, 'mac'>, namespace: string): SharedEntries {
  let current: { readonly generation: string; readonly key: KeyObject } | undefined
  return {
    nameOf: (kind, key) => `bun-api:${namespace}:${keyring.mac('shared-cache-name', `${kind} ${key}`)}`,
    seal(name, generation, readAt, json) {
      const nonce = randomBytes(nonceBytes)
      const sealing = createCipheriv(cipher, keyOf(generation), nonce, options).setAAD(Buffer.from(name))
      return Buffer.concat([nonce, sealing.update(`${readAt} ${json}`), sealing.final(), sealing.getAuthTag()])
    },
    open(name, generation, entry) {
      if (entry.length < nonceBytes + tagBytes) return undefined
      const opening = createDecipheriv(cipher, keyOf(generation), entry.subarray(0, nonceBytes), options)
      opening.setAAD(Buffer.from(name)).setAuthTag(entry.subarray(-tagBytes))
      try {
        const text = Buffer.concat([opening.update(entry.subarray(nonceBytes, -tagBytes)), opening.final()]).toString()
        const end = text.indexOf(' ')
        return { readAt: Number(text.slice(0, end)), json: text.slice(end + 1) }
      } catch {
        return undefined
      }
    },
  }

  function keyOf(generation: string): KeyObject {
    if (current?.generation !== generation) {
      const key = createSecretKey(Buffer.from(keyring.mac('shared-cache', generation), 'base64url'))
      current = { generation, key }
    }
    return current.key
  }
}
