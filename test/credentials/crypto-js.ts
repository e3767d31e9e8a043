import { createCipheriv, createHash, randomBytes } from 'node:crypto'

/** What `CryptoJS.AES.encrypt(text, passphrase).toString()` writes, of any bytes; unpadded where the padding is to be wrong. */
export function sealLegacy(passphrase: string, text: string | Uint8Array, padded = true): string {
  const salt = randomBytes(8)
  const hashes: Buffer[] = []
  for (let last = Buffer.alloc(0); hashes.length < 3; hashes.push(last)) {
    last = createHash('md5').update(last).update(passphrase, 'utf8').update(salt).digest()
  }
  const material = Buffer.concat(hashes)
  const cipher = createCipheriv('aes-256-cbc', material.subarray(0, 32), material.subarray(32, 48)).setAutoPadding(
    padded,
  )
  return Buffer.concat([Buffer.from('Salted__'), salt, cipher.update(text), cipher.final()]).toString('base64')
}
