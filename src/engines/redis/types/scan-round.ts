import type { Call } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import type { Commands } from '../commands.ts'
import { isTooLarge } from '../errors.ts'
import { listIn, textIn } from '../replies.ts'

export interface ScanRound {
  readonly command: 'sscan' | 'hscan' | 'zscan'
  readonly key: string | Buffer
  readonly cursor: string
  readonly pattern?: string | undefined
  /** How many the server should look at. With 1, what is too large for a reply is passed over. */
  readonly count: number
}

export interface Scanned {
  /** The cursor to go on with; `'0'` after the last round. */
  readonly next: string
  /** `null`: they are too large for a reply, which ended the connection. */
  readonly items: readonly Reply[] | null
}

const nobody = crypto.randomUUID()

/**
 * One round of SSCAN, HSCAN or ZSCAN. The smallest goes behind its twin, the same round with a pattern that nothing matches: that has the
 * same cursor to go on with, and members on neither side are touched. Both are sent before anything is waited for.
 */
export async function scanRound(
  commands: Commands,
  { command, key, cursor, pattern, count }: ScanRound,
  call: Call,
): Promise<Scanned> {
  const matching = (match: readonly string[]): BatchCommand => [command, key, cursor, ...match, 'COUNT', String(count)]
  const twin = count === 1 ? commands.send(call, 'reads', matching(['MATCH', nobody])) : undefined
  const round = commands.send(call, 'reads', matching(pattern === undefined ? [] : ['MATCH', pattern]))
  const [passed, read] = await Promise.all([
    twin,
    round.catch((error: unknown) => {
      if (twin === undefined || !isTooLarge(error)) throw error
    }),
  ])
  if (read === undefined) return { next: textIn(listIn(passed?.[0])[0]), items: null }
  const [next, items] = listIn(read[0])
  return { next: textIn(next), items: listIn(items) }
}
