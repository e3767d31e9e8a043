const [star, question, open, close, backslash] = [0x2a, 0x3f, 0x5b, 0x5d, 0x5c]

/**
 * The one key a glob can match, or undefined where it can match several; by the rules of Redis' `stringmatchlen`: `*`, `?` and `[` are
 * special, a backslash takes the next byte as it is, and stands for itself at the end.
 */
export function onlyMatch(pattern: Buffer): Buffer | undefined {
  const bytes: number[] = []
  for (let at = 0; at < pattern.length; at++) {
    const byte = pattern[at] ?? 0
    if (byte === star || byte === question || byte === open) return undefined
    if (byte === backslash && at + 1 < pattern.length) at++
    bytes.push(pattern[at] ?? 0)
  }
  return Buffer.from(bytes)
}

/** A glob that matches every key that begins with these bytes. */
export function beginsWith(prefix: Buffer): Buffer {
  const bytes: number[] = []
  for (const byte of prefix) {
    if (byte === star || byte === question || byte === open || byte === backslash) bytes.push(backslash)
    bytes.push(byte)
  }
  return Buffer.from([...bytes, star])
}

/** Whether a glob holds no byte that a key must have, as `*`, `?*` and `[^a]*`: it may match all there is. */
export function namesNothing(pattern: Buffer): boolean {
  for (let at = 0; at < pattern.length; at++) {
    const byte = pattern[at]
    if (byte === star || byte === question) continue
    if (byte !== open) return false
    at = endOfClass(pattern, at)
  }
  return true
}

// A class ends at the first bracket that no backslash stands before, or with the pattern.
function endOfClass(pattern: Buffer, from: number): number {
  for (let at = from + 1; at < pattern.length; at++) {
    if (pattern[at] === backslash) at++
    else if (pattern[at] === close) return at
  }
  return pattern.length
}
