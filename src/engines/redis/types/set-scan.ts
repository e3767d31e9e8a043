import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Commands } from '../commands.ts'
import { goOn } from '../keyspace/turns.ts'
import { withinAnswer } from './hash-values.ts'
import { scanRound } from './scan-round.ts'
import { pageByName, type Position } from './set-pages.ts'
import { bytesIn, pairsIn } from '../replies.ts'
import { isTooLarge, replyTooLarge } from '../errors.ts'

export interface MemberScan<T> {
  readonly command: 'sscan' | 'zscan'
  readonly key: string | Buffer
  readonly pattern?: string | undefined
  readonly count: number
  /** Reads a part of `count` at once; see `withFewer`. */
  readonly share: number
  /** The server's own cursor; where it gave the whole collection at once, `'0'` and the position in that. */
  readonly position: Position
  /** Of the answer in JSON. */
  readonly maxBytes: number
  read(element: Element): T
  /** Stands for a member that is too large to be answered, or for one or some that are too large to be read. */
  leftOut(element?: Element): T
}

/** A member with its score, which is empty in a set. */
export type Element = readonly [member: Buffer, score: Buffer]

const maxRounds = 100
const maxScanMs = 250
const minScanned = 100
// The last bucket of a reply may hold some more than were asked for, and an answer no more than 1,000.
const maxItems = 990

/**
 * A page of members, `count` or a few more: the server answers whole buckets. Small collections, and those of integers, it answers whole
 * whatever COUNT says; those are paged here in the order of their bytes, so that nothing is lost when they change in between.
 */
export async function scanMembers<T>(
  commands: Commands,
  scan: MemberScan<T>,
  call: Call,
): Promise<{ readonly data: readonly T[]; readonly next: Position | null }> {
  const { command, key, pattern, count, share, position, maxBytes } = scan
  const found = new Map<string, T>()
  const until = performance.now() + maxScanMs
  const [from = '0', ...inWhole] = position
  const enough = Math.min(count, maxItems)
  // Members of one bucket come together, whatever COUNT says.
  const isLeast = share > 1 && share >= count
  let cursor = from
  let bytes = 0
  for (let round = 0; round < maxRounds && (round === 0 || performance.now() < until); round++) {
    if (round > 0) goOn(call)
    const wanted = enough - found.size
    const welcome = pattern === undefined ? wanted : Math.max(wanted, Math.min(minScanned, maxItems - found.size))
    const asked = isLeast ? 1 : Math.max(1, Math.floor(welcome / share))
    const scanned = await scanRound(commands, { command, key, cursor, pattern, count: asked }, call).catch(
      // They come again with the next page.
      (error: unknown) => (found.size > 0 && isTooLarge(error) ? undefined : Promise.reject(error)),
    )
    if (scanned === undefined) break
    const { next, items } = scanned
    if (items === null) return { data: [...found.values(), scan.leftOut()], next: positionAt(next) }
    const elements = elementsOf(command, items)
    if (round === 0 && cursor === '0' && next === '0') return pageOfWhole(elements, inWhole, scan)
    const read = elements.map((element) => scan.read(element))
    const size = sizeOf(read)
    if (bytes + size > maxBytes) {
      if (found.size > 0) break
      if (asked > 1) throw replyTooLarge()
      const fitting = withinAnswer(read, maxBytes, (item) => [item]).length
      const data = elements.map((element, at) => (at < fitting ? scan.read(element) : scan.leftOut(element)))
      return { data, next: positionAt(next) }
    }
    elements.forEach(([member], at) => found.set(member.toString('latin1'), read[at] as T))
    cursor = next
    bytes += size
    if (cursor === '0' || found.size >= enough || bytes + size > maxBytes) break
  }
  return { data: [...found.values()], next: positionAt(cursor) }
}

function positionAt(cursor: string): Position | null {
  return cursor === '0' ? null : [cursor]
}

function pageOfWhole<T>(elements: readonly Element[], position: Position, { count, maxBytes, read }: MemberScan<T>) {
  const nameOf = ([member]: Element) => member
  const { page } = pageByName(elements, nameOf, count, position)
  const data = withinAnswer(page.map(read), maxBytes, (item) => [item])
  const { next } = pageByName(elements, nameOf, data.length, position)
  return { data, next: next === null ? null : ['0', ...next] }
}

function sizeOf(items: readonly unknown[]): number {
  return items.reduce((sum: number, item) => sum + Buffer.byteLength(JSON.stringify(item)), 0)
}

function elementsOf(command: 'sscan' | 'zscan', items: readonly Reply[]): readonly Element[] {
  return command === 'zscan' ? pairsIn(items) : items.map((member) => [bytesIn(member), Buffer.alloc(0)])
}
