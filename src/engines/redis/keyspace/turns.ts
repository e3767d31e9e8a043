import { setTimeout as pause } from 'node:timers/promises'
import { timedOut } from '../../dial-errors.ts'
import { type Call, throwIfOver } from '../../engine.ts'

/**
 * Keys that one send asks about: more would hold up Redis, which runs what has arrived from a connection in one go, and this process, which
 * reads the replies in one go, for longer than a GET takes.
 */
export const keysASlice = 50

/** To be awaited between two slices of work, and after the last, so that other callers come first. Throws `DB_TIMEOUT` once the caller has left or its time is over. */
export type Turn = (isLast?: boolean) => Promise<void>

const pagesShare = 2
const [shortestRestMs, longestRestMs] = [1, 10]

/**
 * Rests `share` times as long as the work took since the last rest, once that is a millisecond: with a share of 1 other callers find the server
 * and this process free half of the time. The last rest is at least a millisecond, however short the work.
 */
export function takeTurns(call: Call, share = 1): Turn {
  let began = performance.now()
  return async (isLast = false) => {
    if (!isLast) goOn(call)
    const worked = performance.now() - began
    if (worked < shortestRestMs && !isLast) return
    await pause(Math.min(longestRestMs, Math.max(shortestRestMs, worked * share)))
    if (isLast) return
    goOn(call)
    began = performance.now()
  }
}

/** Work that rests once more at its end, with nothing lent to it: who asks again and again, as for pages, is one whole to the others. */
export async function thenRest<T>(call: Call, work: (turn: Turn) => Promise<T>): Promise<T> {
  const turn = takeTurns(call, pagesShare)
  const result = await work(turn)
  await turn(true)
  return result
}

/** Works on a list slice by slice, one after the other. */
export async function bySlices<T, R>(
  list: readonly T[],
  turn: Turn,
  work: (slice: readonly T[], isFirst: boolean) => Promise<readonly R[]>,
): Promise<readonly R[]> {
  const results: R[] = []
  for (let from = 0; from < list.length; from += keysASlice) {
    if (from > 0) await turn()
    results.push(...(await work(list.slice(from, from + keysASlice), from === 0)))
  }
  return results
}

/** Throws `DB_TIMEOUT` with this message once the caller has left or its time is over; asked between the rounds of longer work. */
export function goOn(call: Call, message = 'The caller left, or its time ran out before the scan was done.'): void {
  try {
    throwIfOver(call)
  } catch (error) {
    throw timedOut(message, error)
  }
}
