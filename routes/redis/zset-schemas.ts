import { z } from '@hono/zod-openapi'
import { type Encoding, type RedisValue as Value, toBytes } from '#src/engines/redis/values.ts'
import { invalid } from '#src/errors.ts'
import { valueOf } from './set-schemas.ts'
import { RedisValue } from './schemas.ts'

const number = String.raw`[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,5})?`

/** What a bound of scores has to be, after "the field …". */
export const scoreBoundRule = 'must be a score, with ( before it where it is left out: 5, (5, -inf, +inf'

/** A bound of scores as Redis takes it. */
export const ScoreBound = z
  .string()
  .regex(new RegExp(`^\\(?(${number}|[+-]?inf)$`), { error: scoreBoundRule })
  .openapi({ examples: ['-inf'] })

/** A score: a number, or text for what JSON numbers can not say. */
export const Score = z
  .union([z.number(), z.string().regex(new RegExp(`^(${number}|[+-]?inf)$`))], {
    error: 'must be a number, or one in text: "1.5", "-inf"',
  })
  .openapi('RedisScore', {
    description: 'A double: a JSON number, or text such as "-inf" and "0.1"',
    example: 12.5,
  })

/** A score as an argument, -0 too. */
export function scoreText(score: number | string): string {
  return Object.is(score, -0) ? '-0' : String(score)
}

const lexRule = 'must be - or +, or begin with [ or (: [a, (a'

/** A bound of members' bytes in a body: the bracket and the bytes in one value. */
export const LexBound = RedisValue.refine((value) => isLexBound(value), { error: lexRule })

/** A bound of members' bytes in a query; with base64 the bytes after the bracket are base64. */
export function lexBoundOf(field: 'min' | 'max', text: string, encoding: Encoding): Value {
  if (!isLexBound(text)) throw invalid(field, lexRule)
  if (encoding === 'utf8' || text.length === 1) return text
  const bytes = toBytes(valueOf(field, text.slice(1), encoding))
  return { base64: Buffer.concat([Buffer.from(text.slice(0, 1)), bytes]).toString('base64') }
}

function isLexBound(value: Value): boolean {
  const bytes = toBytes(value)
  const sign = bytes.toString('latin1', 0, 1)
  return sign === '[' || sign === '(' || (bytes.length === 1 && (sign === '-' || sign === '+'))
}
