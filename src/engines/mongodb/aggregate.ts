import type { Abortable, AggregateOptions, Db } from 'mongodb'
import { rawBatchesOf } from './cursor.ts'
import type { PageBounds } from './documents.ts'
import { pageText } from './page-text.ts'
import type { AggregateQuery, Aggregated } from './session.ts'

// The server answers at its limit, not before it.
const socketReserveMs = 1_000

/** Runs a pipeline to its end or one document beyond the limit, and reads the bytes the server sent. */
export async function aggregate(
  db: Db,
  collection: string,
  { pipeline, limit, mode }: AggregateQuery,
  { maxBytes, timeMs, signal }: PageBounds,
): Promise<Aggregated> {
  const maxTimeMS = timeMs()
  // The driver hands this one on to the command, but its type leaves it out.
  const waiting: Abortable & AggregateOptions & { socketTimeoutMS: number } = {
    maxTimeMS,
    signal,
    raw: true,
    // A read that would fill the server's disk is refused instead.
    allowDiskUse: false,
    // With room for one more, the server sees the end in the first batch and keeps no cursor.
    batchSize: limit + 2,
    // The client's is for short commands.
    socketTimeoutMS: maxTimeMS + socketReserveMs,
  }
  const stages = [...pipeline.stages, { $limit: limit + 1 }]
  const cursor = db.collection(collection).aggregate(stages, waiting)
  const page = pageText(mode, maxBytes)
  for await (const batch of rawBatchesOf(cursor, signal))
    for (const document of batch) {
      if (page.documents.length === limit) return { documents: page.documents, truncated: true }
      page.add(document)
    }
  return { documents: page.documents, truncated: false }
}
