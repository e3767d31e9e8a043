import type { Call, Limits } from '../../engine.ts'
import type { Commands } from '../commands.ts'
import type { BatchCommand } from '../wire/batch.ts'

/** Bytes that the reply to a command takes at least, by what the values it reads hold: their lengths in its questions' order. */
interface Question {
  readonly asks: readonly BatchCommand[]
  least(lengths: readonly number[]): number
}

type Ask = (args: readonly (string | Buffer)[]) => Question

// $0\r\n\r\n, and of an entry of a stream three of them with an id.
const perElement = 6
const perEntry = 29

const whole =
  (name: string, bytes: number): Ask =>
  ([key = '']) => ({ asks: [[name, key]], least: ([length = 0]) => length * bytes })
const part =
  (name: string, bytes: number): Ask =>
  ([key = '', first, last, ...options]) => ({
    asks: [[name, key]],
    least: ([length = 0]) => (options.some(isLimit) ? 0 : between(Number(first), Number(last), length) * bytes),
  })
const entries =
  (first: string, last: string): Ask =>
  ([key = '', ...range]) => ({
    asks: [['xlen', key]],
    least: ([length = 0]) => (range.join(' ') === `${first} ${last}` ? length * perEntry : 0),
  })
const ofEach =
  (name: string, merge: (lengths: readonly number[]) => number): Ask =>
  (keys) => ({ asks: keys.map((key): BatchCommand => [name, key]), least: merge })

const questions = new Map<string, Ask>([
  ['get', whole('strlen', 1)],
  ['getrange', part('strlen', 1)],
  ['hgetall', whole('hlen', perElement * 2)],
  ['hkeys', whole('hlen', perElement)],
  ['hvals', whole('hlen', perElement)],
  ['lrange', part('llen', perElement)],
  ['mget', ofEach('strlen', (lengths) => lengths.reduce((sum, length) => sum + length, 0))],
  ['smembers', whole('scard', perElement)],
  ['substr', part('strlen', 1)],
  ['sunion', ofEach('scard', (lengths) => Math.max(0, ...lengths) * perElement)],
  ['xrange', entries('-', '+')],
  ['xrevrange', entries('+', '-')],
  ['zrange', part('zcard', perElement)],
  ['zrevrange', part('zcard', perElement)],
])

/**
 * Which of commands that only read would be answered by more than a reply may be: Redis would make all of it, while all others wait, to have
 * it refused. Lengths are asked for in one go and cost nothing.
 */
export async function foreseenTooLarge(
  commands: Commands,
  batch: readonly BatchCommand[],
  { maxResponseBytes, maxValueBytes }: Limits,
  call: Call,
): Promise<ReadonlySet<BatchCommand>> {
  const asked = batch.flatMap((command) => {
    const [name, ...args] = command
    const question = questions.get(name)?.(args)
    return question && question.asks.length > 0 ? [{ command, ...question }] : []
  })
  const tooLarge = new Set<BatchCommand>()
  if (asked.length === 0) return tooLarge
  const outcomes = await commands.each(call, 'reads', ...asked.flatMap(({ asks }) => asks))
  // A key of another type, or that may not be asked for, is the command's own affair.
  const lengths = outcomes.map((outcome) => ('reply' in outcome ? Number(outcome.reply) : 0))
  for (const { command, asks, least } of asked)
    if (least(lengths.splice(0, asks.length)) > maxResponseBytes + maxValueBytes) tooLarge.add(command)
  return tooLarge
}

function isLimit(option: string | Buffer): boolean {
  return ['bylex', 'byscore', 'limit'].includes(option.toString().toLowerCase())
}

/** How many there are from one index to another, of which negative ones count from the end. */
function between(first: number, last: number, length: number): number {
  const [from, to] = [first, last].map((index) => (index < 0 ? length + index : index)) as [number, number]
  return Math.max(0, Math.min(to, length - 1) - Math.max(from, 0) + 1) || 0
}
