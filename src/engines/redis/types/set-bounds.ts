import type { BatchCommand } from '../wire/batch.ts'
import { type RedisValue, toBytes } from '../values.ts'

/** A range of a sorted set, read in one direction. */
export interface Bounds {
  includes(pair: readonly [member: Buffer, score: Buffer]): boolean
  /** Counts what comes before the range. */
  readonly before: BatchCommand
  /** Counts what is in the range. */
  readonly within: BatchCommand
  /** Counts what comes before a member that may have gone; with equal scores, before all that have its score. */
  beforeMember(score: string, member: Buffer): BatchCommand
  /** Counts what is in the range after a member; with equal scores, all that have its score as well. */
  afterMember(score: string, member: Buffer): BatchCommand
}

/** Scores as Redis takes them: `5`, `(5`, `-inf`, `+inf`. */
export function scoreBounds(
  key: string | Buffer,
  { min, max }: { readonly min: string; readonly max: string },
  reverse: boolean,
): Bounds {
  const [low, high] = [toNumber(min), toNumber(max)]
  const count = (from: string, to: string): BatchCommand => ['zcount', key, from, to]
  return {
    includes([, score]) {
      const value = toNumber(score.toString('latin1'))
      return (min.startsWith('(') ? value > low : value >= low) && (max.startsWith('(') ? value < high : value <= high)
    },
    before: reverse ? count(otherSide(max), '+inf') : count('-inf', otherSide(min)),
    within: count(min, max),
    beforeMember: (score) => (reverse ? count(`(${score}`, '+inf') : count('-inf', `(${score}`)),
    afterMember: (score) => (reverse ? count(min, score) : count(score, max)),
  }
}

/** Members by their bytes, as Redis takes them: `-`, `+`, and the bytes after `[` or `(`. */
export function lexBounds(
  key: string | Buffer,
  range: { readonly min: RedisValue; readonly max: RedisValue },
  reverse: boolean,
): Bounds {
  const [min, max] = [toBytes(range.min), toBytes(range.max)]
  const count = (from: string | Buffer, to: string | Buffer): BatchCommand => ['zlexcount', key, from, to]
  const bound = (sign: '[' | '(', member: Buffer) => Buffer.concat([Buffer.from(sign), member])
  return {
    includes: ([member]) => isAbove(member, min) && isBelow(member, max),
    before: reverse ? count(lexOtherSide(max), '+') : count('-', lexOtherSide(min)),
    within: count(min, max),
    beforeMember: (_score, member) => (reverse ? count(bound('[', member), '+') : count('-', bound('[', member))),
    afterMember: (_score, member) => (reverse ? count(min, bound('(', member)) : count(bound('(', member), max)),
  }
}

/** A score or a bound as the server reads it; 17 digits tell every double apart. */
function toNumber(text: string): number {
  const digits = text.replace(/^\(/, '')
  return digits.endsWith('inf') ? (digits.startsWith('-') ? -Infinity : Infinity) : Number(digits)
}

/** The bound that ends where this one begins. */
function otherSide(bound: string): string {
  return bound.startsWith('(') ? bound.slice(1) : `(${bound}`
}

function lexOtherSide(bound: Buffer): Buffer {
  const kind = signOf(bound)
  if (kind !== '(' && kind !== '[') return bound
  return Buffer.concat([Buffer.from(kind === '(' ? '[' : '('), bound.subarray(1)])
}

function isAbove(member: Buffer, bound: Buffer): boolean {
  const kind = signOf(bound)
  if (kind === '-' || kind === '+') return kind === '-'
  const order = Buffer.compare(member, bound.subarray(1))
  return kind === '[' ? order >= 0 : order > 0
}

function isBelow(member: Buffer, bound: Buffer): boolean {
  const kind = signOf(bound)
  if (kind === '-' || kind === '+') return kind === '+'
  const order = Buffer.compare(member, bound.subarray(1))
  return kind === '[' ? order <= 0 : order < 0
}

function signOf(bound: Buffer): string {
  return bound.toString('latin1', 0, 1)
}
