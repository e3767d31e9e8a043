/** A peer's body: parsed when it is JSON that can be embedded, else its text; `null` when it is empty. */
export type PeerBody = unknown

// Far below where JSON.stringify overflows the stack.
const maxDepth = 500
const strict = new TextDecoder('utf-8', { fatal: true })

/** Reads a body by its media type. Throws nothing: bytes that are neither JSON nor UTF-8 are base64. */
export function readBody(bytes: Uint8Array, mediaType: string | null): PeerBody {
  if (bytes.length === 0) return null
  let text: string
  try {
    text = strict.decode(bytes)
  } catch {
    return { base64: Buffer.from(bytes).toString('base64') }
  }
  if (!/[/+]json\b/i.test(mediaType ?? '') || depthOf(text) > maxDepth) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function depthOf(json: string): number {
  let depth = 0
  let deepest = 0
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[[{\]}]/g)) {
    if (token === '{' || token === '[') deepest = Math.max(deepest, ++depth)
    else if (token === '}' || token === ']') depth--
  }
  return deepest
}
