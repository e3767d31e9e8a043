import { createDecipheriv, createHash } from 'node:crypto'

const magic = Buffer.from('Salted__')
const saltBytes = 8
const blockBytes = 16
const keyBytes = 32

/** Whether a text begins like what crypto-js writes, base64 of `Salted__`, be it damaged further on. No connection string begins so. */
export function isLegacy(text: string): boolean {
  return text.trimStart().startsWith('U2FsdGVkX1')
}

/**
 * Opens a crypto-js AES value (AES-256-CBC, key and IV by EVP_BytesToKey with MD5, one round). It is not authenticated, so this is
 * strict: canonical base64, whole blocks, right padding, UTF-8, not empty; `undefined` otherwise. The caller still has to check that the
 * text is a connection string, because a wrong passphrase passes all of this now and then.
 */
export function openLegacy(passphrase: string, text: string): string | undefined {
  const bytes = decode(text)
  if (bytes === undefined) return undefined
  const salt = bytes.subarray(magic.length, magic.length + saltBytes)
  const material = deriveKey(Buffer.from(passphrase, 'utf8'), salt, keyBytes + blockBytes)
  try {
    const decipher = createDecipheriv('aes-256-cbc', material.subarray(0, keyBytes), material.subarray(keyBytes))
    const plain = Buffer.concat([decipher.update(bytes.subarray(magic.length + saltBytes)), decipher.final()])
    // A leading U+FEFF is part of the value.
    const opened = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(plain)
    return opened === '' ? undefined : opened
  } catch {
    return undefined
  }
}

function decode(text: string): Buffer | undefined {
  const trimmed = text.trim()
  const bytes = Buffer.from(trimmed, 'base64')
  if (bytes.toString('base64') !== trimmed || !bytes.subarray(0, magic.length).equals(magic)) return undefined
  const body = bytes.length - magic.length - saltBytes
  return body >= blockBytes && body % blockBytes === 0 ? bytes : undefined
}

function deriveKey(passphrase: Buffer, salt: Buffer, length: number): Buffer {
  let derived = Buffer.alloc(0)
  let digest = Buffer.alloc(0)
  while (derived.length < length) {
    digest = createHash('md5')
      .update(Buffer.concat([digest, passphrase, salt]))
      .digest()
    derived = Buffer.concat([derived, digest])
  }
  return derived.subarray(0, length)
}
