import type { Call } from '../../engine.ts'
import { notRedis } from '../errors.ts'
import type { Apart } from './watch.ts'
import { bytesIn } from '../replies.ts'

/** One command that a server ran. */
export interface MonitoredCommand {
  /** Seconds since 1970, with microseconds, as the server says them. */
  readonly time: string
  readonly database: number
  /** Address and port, `lua` for a script's, `unix:` and a path. */
  readonly client: string
  /** The command and its arguments; Redis leaves out those that hold secrets of its own. */
  readonly command: readonly Buffer[]
  /** `host:port` of the primary that ran it, on a cluster alone. */
  readonly node?: string
}

/** Why a look ended. */
export type MonitorEnd = 'seconds' | 'max' | 'bytes'

/** What one look may see: whichever ends first. */
export interface MonitorBounds {
  readonly seconds: number
  readonly max: number
}

/**
 * `null` once it looks, then all that the server runs, in every logical database, of a cluster all primaries; the last is why it ended.
 * Commands of several primaries come as they are told, not in the order of their times.
 */
export async function* monitorCommands(
  apart: Apart,
  { seconds, max }: MonitorBounds,
  call: Call,
): AsyncGenerator<MonitoredCommand | MonitorEnd | null, undefined> {
  const watched = await apart.everywhere(call)
  const time = new AbortController()
  const timer = setTimeout(() => time.abort(), seconds * 1000)
  const looking: Call = { signal: AbortSignal.any([call.signal, time.signal]), deadline: call.deadline }
  const waitedFor = new Set(watched.servers.map(({ node }) => node))
  let count = 0
  let bytes = 0
  try {
    for await (const { reply, node } of watched.replies(looking, ['monitor'])) {
      const line = bytesIn(reply)
      if (waitedFor.size > 0) {
        // What comes before all of them look is none of it.
        if (waitedFor.delete(node) && waitedFor.size === 0) yield null
        continue
      }
      bytes += line.length
      if (bytes > watched.limits.maxResponseBytes) {
        yield 'bytes'
        return
      }
      yield { ...readMonitorLine(line), ...(node === undefined ? {} : { node }) }
      if (++count < max) continue
      yield 'max'
      return
    }
  } catch (error) {
    if (!time.signal.aborted || error !== time.signal.reason) throw error
    yield 'seconds'
  } finally {
    clearTimeout(timer)
  }
}

const head = /^(\d+\.\d+) \[(\d+) (.*?)\] (?=")/

/** Reads a line of MONITOR. Throws where it is none. */
export function readMonitorLine(line: Buffer): MonitoredCommand {
  const text = line.toString('latin1')
  const [whole, time, database, client] = head.exec(text) ?? []
  if (whole === undefined || time === undefined || client === undefined) throw notRedis()
  return { time, database: Number(database), client, command: readQuoted(text, whole.length) }
}

/** Arguments as Redis quotes them: every byte that is not printable is escaped (sds.c, `sdscatrepr`). */
function readQuoted(text: string, from: number): readonly Buffer[] {
  const found: Buffer[] = []
  for (let at = from; at < text.length;) {
    const end = text[at] === '"' ? closingQuote(text, at + 1) : -1
    if (end === -1) throw notRedis()
    found.push(unquote(text.slice(at + 1, end)))
    // A space stands between two.
    at = end + 2
  }
  return found
}

function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at !== -1; at = text.indexOf('"', at + 1)) {
    let backslashes = 0
    while (text[at - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return at
  }
  return -1
}

const escapes: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, a: 7, b: 8, '\\': 92, '"': 34 }

function unquote(quoted: string): Buffer {
  if (!quoted.includes('\\')) return Buffer.from(quoted, 'latin1')
  const plain = quoted.replaceAll(/\\x([\da-f]{2})|\\([nrtab\\"])/g, (_, hex: string | undefined, name: string) =>
    String.fromCharCode(hex === undefined ? (escapes[name] ?? 0) : Number.parseInt(hex, 16)),
  )
  return Buffer.from(plain, 'latin1')
}
