import { BSON } from './driver.ts'

export { type EjsonMode, ejsonText } from './ejson.ts'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

/** Under these, the driver hands over BSON's own types: promoted to JS values, int64, int32 and double become one. */
export const losslessTypes = {
  promoteValues: false,
  promoteLongs: false,
  promoteBuffers: false,
  bsonRegExp: true,
} as const

/** Pure relaxed Extended JSON, for figures whose BSON type is of no interest. */
export function toRelaxed(document: BSON.Document): Json {
  return BSON.EJSON.serialize(document, { relaxed: true }) as Json
}

// As a cursor it is written in base64 twice, and has to fit into 4,000 characters of a URL.
const maxIdBytes = 2_048

/**
 * The `_id` of a document as text for a cursor: its BSON in base64, because its type is part of it. `undefined` where it is too long, or
 * where the driver would write other bytes: an object has number-like keys in another order, each key once, and not every date.
 */
export function idToText(document: Uint8Array): string | undefined {
  const element = elementOf(document, '_id')
  if (element === undefined || element.length > maxIdBytes) return undefined
  const bytes = Buffer.alloc(4 + element.length + 1)
  bytes.writeInt32LE(bytes.length)
  bytes.set(element, 4)
  try {
    const written = BSON.serialize(BSON.deserialize(bytes, losslessTypes), { ignoreUndefined: false })
    return bytes.equals(written) ? bytes.toString('base64') : undefined
  } catch {
    return undefined
  }
}

/** The reverse. */
export function idFromText(text: string): unknown {
  return BSON.deserialize(Buffer.from(text, 'base64'), losslessTypes)['_id']
}

function elementOf(document: Uint8Array, name: string): Uint8Array | undefined {
  for (const [, nameAt, nameLength, at, length] of BSON.onDemand.parseToElements(document))
    if (BSON.onDemand.ByteUtils.toUTF8(document, nameAt, nameAt + nameLength, false) === name)
      return document.subarray(nameAt - 1, at + length)
  return undefined
}
