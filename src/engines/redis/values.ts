import { isUtf8 } from 'node:buffer'

/** Bytes as JSON carries them: text when they are valid UTF-8, else base64. */
export type RedisValue = string | { readonly base64: string }

export type Encoding = 'utf8' | 'base64'

/** Reply bytes to JSON, losslessly; `base64` forces the base64 form. */
export function fromBytes(bytes: Uint8Array, encoding: Encoding = 'utf8'): RedisValue {
  const buffer = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return encoding === 'utf8' && isUtf8(buffer) ? buffer.toString('utf8') : { base64: buffer.toString('base64') }
}

/** Either JSON form to bytes. */
export function toBytes(value: RedisValue): Buffer {
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value.base64, 'base64')
}

/** Either JSON form as an argument of a command. */
export function toArgument(value: RedisValue): string | Buffer {
  return typeof value === 'string' ? value : toBytes(value)
}

/** `INFO` as sections of text values, split at the first colon of a line; nothing is guessed. */
export function parseInfo(raw: string): Record<string, Record<string, string>> {
  const sections: Record<string, Record<string, string>> = {}
  let section: Record<string, string> = {}
  for (const line of raw.split('\r\n')) {
    if (line.startsWith('# ')) {
      section = {}
      sections[line.slice(2).trim().toLowerCase()] = section
      continue
    }
    const colon = line.indexOf(':')
    if (colon > 0) section[line.slice(0, colon)] = line.slice(colon + 1)
  }
  return sections
}
