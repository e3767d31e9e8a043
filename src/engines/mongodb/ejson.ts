import { BSON } from './driver.ts'

/**
 * Forms of Extended JSON v2. `readable` is lossless: relaxed wherever that reads back as the same BSON type, canonical where it would not
 * (int64, integral doubles, dates outside the years 1970 to 9999).
 */
export type EjsonMode = 'readable' | 'canonical' | 'relaxed'

// Far above the 100 levels a server stores, far below where recursion overflows.
const maxDepth = 250
const lastRelaxedMs = BigInt(Date.parse('9999-12-31T23:59:59.999Z'))
const quote = JSON.stringify

/**
 * BSON bytes as Extended JSON text. Written from the bytes because a JavaScript object keeps neither the order of number-like keys nor a
 * key that is there twice, and a `Date` not every date. Throws `RangeError` where the bytes are no BSON document.
 */
export function ejsonText(bytes: Uint8Array, mode: EjsonMode): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  return documentText(0, false)

  function documentText(depth: number, isArray: boolean): string {
    const end = at + int32() - 1
    if (depth > maxDepth || end >= buffer.length || end < at || buffer[end] !== 0) throw malformed()
    const parts: string[] = []
    while (at < end) {
      const type = buffer[at++]
      if (isArray) {
        skipCString()
        parts.push(valueText(type, depth))
      } else parts.push(`${quote(cString())}:${valueText(type, depth)}`)
    }
    if (at++ !== end) throw malformed()
    return isArray ? `[${parts.join(',')}]` : `{${parts.join(',')}}`
  }

  function valueText(type: number | undefined, depth: number): string {
    switch (type) {
      case 0x01:
        return doubleText(buffer.readDoubleLE(advance(8)), mode)
      case 0x02:
        return quote(string())
      case 0x03:
        return documentText(depth + 1, false)
      case 0x04:
        return documentText(depth + 1, true)
      case 0x05:
        return binaryText()
      case 0x06:
        return '{"$undefined":true}'
      case 0x07:
        return objectIdText()
      case 0x08:
        return String(buffer[advance(1)] !== 0)
      case 0x09:
        return dateText(buffer.readBigInt64LE(advance(8)), mode)
      case 0x0a:
        return 'null'
      case 0x0b:
        return `{"$regularExpression":{"pattern":${quote(cString())},"options":${quote(cString())}}}`
      case 0x0c:
        return `{"$dbPointer":{"$ref":${quote(string())},"$id":${objectIdText()}}}`
      case 0x0d:
        return `{"$code":${quote(string())}}`
      case 0x0e:
        return `{"$symbol":${quote(string())}}`
      case 0x0f: {
        advance(4)
        return `{"$code":${quote(string())},"$scope":${documentText(depth + 1, false)}}`
      }
      case 0x10: {
        const value = int32()
        return mode === 'canonical' ? `{"$numberInt":"${value}"}` : String(value)
      }
      case 0x11: {
        const i = buffer.readUInt32LE(advance(4))
        return `{"$timestamp":{"t":${buffer.readUInt32LE(advance(4))},"i":${i}}}`
      }
      case 0x12: {
        const value = buffer.readBigInt64LE(advance(8))
        return mode === 'relaxed' ? String(Number(value)) : `{"$numberLong":"${value}"}`
      }
      case 0x13: {
        const start = advance(16)
        return `{"$numberDecimal":"${new BSON.Decimal128(buffer.subarray(start, start + 16))}"}`
      }
      case 0xff:
        return '{"$minKey":1}'
      case 0x7f:
        return '{"$maxKey":1}'
      default:
        throw malformed()
    }
  }

  function binaryText(): string {
    let length = int32()
    const subType = buffer[advance(1)] ?? 0
    // The old subtype repeats the length inside, and Extended JSON leaves that out.
    if (subType === 2) length = int32()
    const start = advance(length)
    const base64 = buffer.toString('base64', start, start + length)
    return `{"$binary":{"base64":"${base64}","subType":"${subType.toString(16).padStart(2, '0')}"}}`
  }

  function objectIdText(): string {
    const start = advance(12)
    return `{"$oid":"${buffer.toString('hex', start, start + 12)}"}`
  }

  function int32(): number {
    return buffer.readInt32LE(advance(4))
  }

  function string(): string {
    const length = int32()
    const start = advance(length)
    if (length < 1 || buffer[start + length - 1] !== 0) throw malformed()
    return buffer.toString('utf8', start, start + length - 1)
  }

  function cString(): string {
    const start = at
    skipCString()
    return buffer.toString('utf8', start, at - 1)
  }

  function skipCString(): void {
    const end = buffer.indexOf(0, at)
    if (end === -1) throw malformed()
    at = end + 1
  }

  /** The place before; the next read begins `count` bytes later. */
  function advance(count: number): number {
    const start = at
    at += count
    if (count < 0 || at > buffer.length) throw malformed()
    return start
  }
}

// An integral double written as 1 would come back as an int32.
function doubleText(value: number, mode: EjsonMode): string {
  const relaxed = Number.isFinite(value) && (mode === 'relaxed' || (mode === 'readable' && !Number.isInteger(value)))
  if (relaxed) return Object.is(value, -0) ? '-0.0' : String(value)
  const text = Object.is(value, -0) ? '-0' : String(value)
  return `{"$numberDouble":"${/^-?\d+$/.test(text) ? `${text}.0` : text}"}`
}

function dateText(ms: bigint, mode: EjsonMode): string {
  return mode !== 'canonical' && ms >= 0n && ms <= lastRelaxedMs
    ? `{"$date":"${new Date(Number(ms)).toISOString()}"}`
    : `{"$date":{"$numberLong":"${ms}"}}`
}

function malformed(): RangeError {
  return new RangeError('not a BSON document')
}
