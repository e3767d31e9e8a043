const [star, question, open, close, backslash, caret, dash] = [0x2a, 0x3f, 0x5b, 0x5d, 0x5c, 0x5e, 0x2d]

/** Whether a glob matches, by the rules of Redis' `stringmatchlen`; in time of at most their lengths' product. */
export function matchesGlob(pattern: Buffer, text: Buffer): boolean {
  // Redis asks no glob about an empty name, and takes the single star for no glob.
  if (text.length === 0) return pattern.length === 1 && pattern[0] === star
  let [at, from] = [0, 0]
  // Where the last star stood, and what it took so far.
  let [retryAt, retryFrom] = [-1, 0]
  while (from < text.length || at < pattern.length) {
    if (pattern[at] === star) {
      ;[retryAt, retryFrom] = [at, from]
      at++
      continue
    }
    const next = from < text.length ? matchOne(pattern, at, text[from] ?? 0) : undefined
    if (next !== undefined) {
      at = next
      from++
    } else if (retryAt === -1 || retryFrom >= text.length) {
      return false
    } else {
      retryFrom++
      ;[at, from] = [retryAt + 1, retryFrom]
    }
  }
  return true
}

/** Where the pattern goes on after one byte; undefined where it does not match that byte, or has ended. */
function matchOne(pattern: Buffer, at: number, byte: number): number | undefined {
  if (at >= pattern.length) return undefined
  if (pattern[at] === question) return at + 1
  if (pattern[at] === open) return matchClass(pattern, at, byte)
  const escaped = pattern[at] === backslash && at + 1 < pattern.length ? at + 1 : at
  return pattern[escaped] === byte ? escaped + 1 : undefined
}

function matchClass(pattern: Buffer, open: number, byte: number): number | undefined {
  let at = open + 1
  const isNegated = pattern[at] === caret
  if (isNegated) at++
  let isIn = false
  for (; at < pattern.length && pattern[at] !== close; at++) {
    if (pattern[at] === backslash && at + 1 < pattern.length) {
      at++
      isIn ||= pattern[at] === byte
    } else if (pattern[at + 1] === dash && at + 2 < pattern.length) {
      const [low, high] = [pattern[at] ?? 0, pattern[at + 2] ?? 0]
      isIn ||= byte >= Math.min(low, high) && byte <= Math.max(low, high)
      at += 2
    } else isIn ||= pattern[at] === byte
  }
  return isIn === isNegated ? undefined : Math.min(at + 1, pattern.length)
}
