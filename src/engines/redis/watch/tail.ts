import { type Call, untilAborted } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Watcher } from './watch.ts'
import { bytesIn, listIn } from '../replies.ts'
import { isTooLarge } from '../errors.ts'

/** An entry of a stream; names may repeat. */
export interface TailEntry {
  readonly id: string
  readonly fields: readonly (readonly [Buffer, Buffer])[]
}

/** Where following begins: behind an entry's id. */
export interface TailStart {
  readonly from: string
}

const batch = '100'
const one = '1'

/**
 * Where it begins, then every entry behind `from` once and in order, as long as the caller stays; `$` is the stream's end now. Throws
 * `DB_QUERY_ERROR` for a key of another type, `RESULT_TOO_LARGE` for one entry above the cap.
 */
export async function* followStream(
  watch: () => Promise<Watcher>,
  key: string | Buffer,
  from: string,
  call: Call,
): AsyncGenerator<TailStart | TailEntry, undefined> {
  let last: string | undefined = from === '$' ? undefined : from
  let count = batch
  for (;;) {
    await using watcher = await watch()
    try {
      if (last === undefined) yield { from: (last = await lastIdOf(watcher, key, call)) }
      else if (count === batch) {
        // Another type is said before anything else is.
        await watcher.commands.send(call, 'reads', ['xlen', key])
        yield { from: last }
      }
      for await (const entry of entriesBehind(watcher, key, last, count, call)) {
        last = entry.id
        yield entry
      }
    } catch (error) {
      // Several entries may be too much for one reply that are not one by one.
      if (!isTooLarge(error) || count === one) throw error
      count = one
    }
  }
}

async function* entriesBehind(
  { commands, limits }: Watcher,
  key: string | Buffer,
  from: string,
  count: string,
  call: Call,
): AsyncGenerator<TailEntry, undefined> {
  const block = String(Math.floor(limits.commandTimeoutMs / 2))
  let last = from
  for (;;) {
    const asked = commands.send(call, 'reads', ['xread', 'COUNT', count, 'BLOCK', block, 'STREAMS', key, last])
    const [reply] = await untilAborted(asked, call.signal)
    // Nothing came within the time.
    if (reply === null || reply === undefined) continue
    for (const stream of listIn(reply))
      for (const entry of listIn(listIn(stream)[1])) {
        const read = entryOf(entry)
        last = read.id
        yield read
      }
  }
}

// `$` of XREAD would be another end each time it is asked.
async function lastIdOf({ commands }: Watcher, key: string | Buffer, call: Call): Promise<string> {
  const [entries] = await commands.send(call, 'reads', ['xrevrange', key, '+', '-', 'COUNT', one])
  const [newest] = listIn(entries)
  return newest === undefined ? '0-0' : entryOf(newest).id
}

function entryOf(reply: Reply): TailEntry {
  const [id, fields] = listIn(reply)
  const flat = listIn(fields).map(bytesIn)
  const pairs = flat.flatMap((name, at): [Buffer, Buffer][] => (at % 2 === 0 ? [[name, flat[at + 1] ?? name]] : []))
  return { id: bytesIn(id).toString('latin1'), fields: pairs }
}
