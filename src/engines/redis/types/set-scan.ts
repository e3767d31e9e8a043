import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Commands } from '../commands.ts'
import { goOn } from '../keyspace/scan-loop.ts'
import { pageByName, type Position } from './set-pages.ts'
import { bytesIn, listIn, pairsIn, textIn } from '../replies.ts'

export interface MemberScan {
  readonly command: 'sscan' | 'zscan'
  readonly key: string | Buffer
  readonly pattern?: string | undefined
  readonly count: number
  /** The server's own cursor; where it gave the whole collection at once, `'0'` and the position in that. */
  readonly position: Position
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
export async function scanMembers(
  commands: Commands,
  { command, key, pattern, count, position }: MemberScan,
  call: Call,
): Promise<{ readonly elements: readonly Element[]; readonly next: Position | null }> {
  const found = new Map<string, Element>()
  const match = pattern === undefined ? [] : ['MATCH', pattern]
  const until = performance.now() + maxScanMs
  const [from = '0', ...inWhole] = position
  const enough = Math.min(count, maxItems)
  let cursor = from
  for (let round = 0; round < maxRounds && (round === 0 || performance.now() < until); round++) {
    if (round > 0) goOn(call)
    const wanted = enough - found.size
    const asked = pattern === undefined ? wanted : Math.max(wanted, Math.min(minScanned, maxItems - found.size))
    const [reply] = await commands.send(call, 'reads', [command, key, cursor, ...match, 'COUNT', String(asked)])
    const [next, items] = listIn(reply)
    const elements = elementsOf(command, listIn(items))
    const isWhole = round === 0 && cursor === '0' && textIn(next) === '0'
    if (isWhole) {
      const { page, next: following } = pageByName(elements, ([member]) => member, count, inWhole)
      return { elements: page, next: following === null ? null : ['0', ...following] }
    }
    for (const element of elements) found.set(element[0].toString('latin1'), element)
    cursor = textIn(next)
    if (cursor === '0' || found.size >= enough) break
  }
  return { elements: [...found.values()], next: cursor === '0' ? null : [cursor] }
}

function elementsOf(command: MemberScan['command'], items: readonly Reply[]): readonly Element[] {
  return command === 'zscan' ? pairsIn(items) : items.map((member) => [bytesIn(member), Buffer.alloc(0)])
}
