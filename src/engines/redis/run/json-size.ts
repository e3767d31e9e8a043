import { isUtf8 } from 'node:buffer'
import type { Encoding } from '../values.ts'

const aroundText = '""'.length
const aroundBase64 = '{"base64":""}'.length
/** Bytes that each byte of a text takes in JSON: escapes as `JSON.stringify` writes them. */
const widths = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte < 0x80 ? JSON.stringify(String.fromCharCode(byte)).length - aroundText : 1,
)

/** How many bytes `fromBytes` of these takes in JSON, without making it: a control character becomes six. */
export function jsonSize(bytes: Buffer, encoding: Encoding): number {
  if (encoding === 'base64' || !isUtf8(bytes)) return aroundBase64 + 4 * Math.ceil(bytes.length / 3)
  let size = aroundText
  // By index: an iterator takes fifteen times as long.
  for (let at = 0; at < bytes.length; at++) size += widths[bytes[at] ?? 0] ?? 1
  return size
}
