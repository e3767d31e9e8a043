import type { Db } from 'mongodb'
import { ApiError } from '../../errors.ts'
import { entriesOf } from './cursor.ts'
import { BSON } from './driver.ts'
import type { DocumentPage, DocumentQuery, Position } from './session.ts'
import { ejsonText, idFromText, idToText } from './values.ts'

export interface PageBounds {
  /** Of the page's Extended JSON. */
  readonly maxBytes: number
  /** What `maxTimeMS` may be now. */
  readonly timeMs: () => number
  readonly signal: AbortSignal
}

/** Reads one page as the bytes the server sent, so that nothing is lost on the way to Extended JSON. */
export async function readPage(
  db: Db,
  collection: string,
  { limit, mode, position }: DocumentQuery,
  { maxBytes, timeMs, signal }: PageBounds,
): Promise<DocumentPage> {
  const asking = () => ({ maxTimeMS: timeMs(), signal })
  const start = position ?? ((await isDerived(db, collection, asking())) ? { skip: 0 } : { id: '', skip: 0 })
  const [filter, order] = 'id' in start ? afterId(start.id) : [{}, {}]
  const find = (wanted: object, options: object) => {
    const cursor = db.collection(collection).find(wanted, { ...options, ...asking(), raw: true, batchSize: limit + 1 })
    return entriesOf(cursor, signal) as AsyncIterable<unknown> as AsyncIterable<Uint8Array>
  }
  const documents: string[] = []
  const read: Uint8Array[] = []
  let size = 0
  for await (const document of found()) {
    if (documents.length === limit) return { documents, next: nextOf() }
    // Before it is written: the text is never much shorter than the bytes, but may be several times as long.
    if (size + document.length / 2 > maxBytes) throw tooLarge(maxBytes)
    const text = ejsonText(document, mode)
    size += Buffer.byteLength(text)
    if (size > maxBytes) throw tooLarge(maxBytes)
    documents.push(text)
    read.push(document)
  }
  return { documents, next: null }

  async function* found(): AsyncIterable<Uint8Array> {
    yield* find(filter, { ...order, skip: start.skip, limit: limit + 1 })
    // Without `max`, `min` ends before the greatest value there is.
    if ('min' in order) yield* find({ _id: new BSON.MaxKey() }, {})
  }

  // After the last _id that a cursor can carry; what was read since is counted.
  function nextOf(): Position {
    if (!('id' in start)) return { skip: start.skip + read.length }
    for (let index = read.length - 1; index >= 0; index--) {
      const id = idToText(read[index] ?? new Uint8Array())
      if (id !== undefined) return { id, skip: read.length - 1 - index }
    }
    return { id: start.id, skip: start.skip + read.length }
  }
}

// `min` on the index crosses types, which `$gt` does not; a document deleted meanwhile costs nothing, unlike `skip`.
function afterId(text: string): readonly [filter: object, options: object] {
  const order = { hint: { _id: 1 }, sort: { _id: 1 } }
  if (text === '') return [{}, order]
  const last = idFromText(text)
  return [{ _id: { $ne: last } }, { ...order, min: { _id: last } }]
}

// Views and time series have no index on _id, and may have no _id at all.
async function isDerived(
  db: Db,
  collection: string,
  asking: { readonly maxTimeMS: number; readonly signal: AbortSignal },
): Promise<boolean> {
  const found = db.listCollections({ name: collection }, { nameOnly: true, authorizedCollections: true, ...asking })
  for await (const { type } of entriesOf(found, asking.signal)) return type === 'view' || type === 'timeseries'
  return false
}

function tooLarge(maxBytes: number): ApiError {
  return new ApiError('RESULT_TOO_LARGE', `The page is larger than ${maxBytes} bytes. Ask for fewer documents.`, {
    details: { max_bytes: maxBytes },
  })
}
