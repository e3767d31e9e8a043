import { heapStats } from 'bun:jsc'
import type { InProcess } from './in-process.ts'

/** Heap that stays for each registered database, in bytes. */
export interface Growth {
  readonly bytesPerDatabase: number
  /** What half as many requests to a few databases leave, told for each database alike: the error of the measurement. */
  readonly noise: number
}

const concurrency = 64
/** Twice the sessions that may be open at once, so that as many stay open after the few as after all. */
const fewIds = 400

/** What the process keeps after one request to each of the ids, beyond what it keeps after requests to a few of them. */
export async function measureGrowth(
  { ask }: InProcess,
  ids: readonly string[],
  path: (id: string) => string,
): Promise<Growth> {
  const few = ids.slice(0, Math.min(fewIds, ids.length / 2))
  const cycle = Array.from({ length: Math.ceil(ids.length / 2) }, (_, index) => few[index % few.length] ?? '')
  const heapAfter = async (asked: readonly string[]) => {
    await askAll(ask, asked.map(path))
    return settledHeap()
  }
  const warm = await heapAfter(cycle)
  const control = await heapAfter(cycle)
  const grown = await heapAfter(ids)
  const perDatabase = (bytes: number) => Math.round(bytes / (ids.length - few.length))
  return { bytesPerDatabase: perDatabase(grown - control), noise: perDatabase(control - warm) }
}

async function askAll(ask: InProcess['ask'], paths: readonly string[]): Promise<void> {
  const left = paths.values()
  const work = async () => {
    for (const path of left) await ask(path)
  }
  await Promise.all(Array.from({ length: concurrency }, work))
}

/** Bytes in use once two collections in a row find nothing more. */
async function settledHeap(): Promise<number> {
  let last = Number.POSITIVE_INFINITY
  for (;;) {
    // What is released by a closed connection is released in a later turn of the event loop.
    await Bun.sleep(100)
    Bun.gc(true)
    const { heapSize, extraMemorySize } = heapStats()
    const now = heapSize + extraMemorySize
    if (now >= last) return Math.min(now, last)
    last = now
  }
}
