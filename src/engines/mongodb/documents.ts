import { LRUCache } from 'lru-cache'
import type { Db } from 'mongodb'
import { entriesOf } from './cursor.ts'
import { BSON } from './driver.ts'
import { findBatches } from './find.ts'
import { pageText } from './page-text.ts'
import type { DocumentPage, DocumentQuery, Position } from './session.ts'
import { idFromText, idToText } from './values.ts'

/** Which collections have an `_id` to page by, by namespace, for as long as that may be taken for granted. */
export type Plain = Pick<LRUCache<string, true>, 'has' | 'set'>

// A name that becomes a view meanwhile is paged as a collection for so long, which at worst is refused by the server.
const plainMs = 5_000
const maxPlain = 1_000

/** What a session remembers of its collections: asking costs the first page of each request a round trip. */
export function rememberPlain(): Plain {
  return new LRUCache({ max: maxPlain, ttl: plainMs })
}

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
  plain: Plain,
): Promise<DocumentPage> {
  const asking = () => ({ maxTimeMS: timeMs(), signal })
  const start = position ?? ((await isPlain(db, collection, plain, asking())) ? { id: '', skip: 0 } : { skip: 0 })
  const [filter, order] = 'id' in start ? afterId(start.id) : [{}, {}]
  const find = (wanted: object, given: object) =>
    findBatches(db, collection, { filter: wanted, order: given, limit: limit + 1 }, asking)
  const page = pageText(mode, maxBytes)
  const read: Uint8Array[] = []
  for await (const batch of found())
    for (const document of batch) {
      if (read.length === limit) return { documents: page.documents, next: nextOf() }
      page.add(document)
      read.push(document)
    }
  return { documents: page.documents, next: null }

  async function* found(): AsyncIterable<readonly Uint8Array[]> {
    yield* find(filter, { ...order, skip: start.skip })
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

// Views and time series have no index on _id, and may have no _id at all. What is not there yet may become one.
async function isPlain(
  db: Db,
  collection: string,
  plain: Plain,
  asking: { readonly maxTimeMS: number; readonly signal: AbortSignal },
): Promise<boolean> {
  const namespace = `${db.databaseName}.${collection}`
  if (plain.has(namespace)) return true
  const found = db.listCollections({ name: collection }, { nameOnly: true, authorizedCollections: true, ...asking })
  for await (const { type } of entriesOf(found, asking.signal)) {
    if (type === 'view' || type === 'timeseries') return false
    plain.set(namespace, true)
  }
  return true
}
