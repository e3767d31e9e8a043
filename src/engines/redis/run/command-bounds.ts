import { invalid } from '../../../errors.ts'

type Words = readonly (string | Uint8Array)[]
/** What is wrong with a command's arguments, as the end of "command must …"; nothing where they are within bounds. */
type Bound = (args: Words) => string | undefined

const maxPatternBytes = 256
const maxScanCount = 1_000
const maxRandom = 1_000
const maxSamples = 1_000
const maxOffset = 64 * 1_024 * 1_024

// Repeated, one large key costs its size each time; where one is written to stands before them and may be among them.
const keys =
  (first: number): Bound =>
  (args) =>
    repeats(args.slice(first))
const countedKeys =
  (first: number): Bound =>
  (args) =>
    repeats(args.slice(first + 1, first + 1 + Number(textOf(args[first]))))
const random: Bound = (args) =>
  args.length < 2 || Math.abs(Number(textOf(args[1]))) <= maxRandom
    ? undefined
    : `have a count between -${maxRandom} and ${maxRandom}`
const patterns: Bound = (args) => firstOf(args.map(tooLong))
// The options stand behind the cursor, which stands behind the key.
const scan =
  (options: number): Bound =>
  (args) =>
    firstOf(
      pairs(args.slice(options)).map(([option, word]) => {
        if (option === 'match') return tooLong(word)
        return option === 'count' && !(Number(textOf(word)) <= maxScanCount)
          ? `have a COUNT of at most ${maxScanCount}`
          : undefined
      }),
    )
const samples: Bound = (args) =>
  firstOf(
    pairs(args.slice(1)).map(([option, word]) => {
      const count = Number(textOf(word))
      return option === 'samples' && !(count >= 1 && count <= maxSamples)
        ? `have SAMPLES between 1 and ${maxSamples}`
        : undefined
    }),
  )
const bytesAt: Bound = (args) => tooFar(Number(textOf(args[1])))
const bitAt: Bound = (args) => tooFar(Number(textOf(args[1])) / 8)
// GET u8 100, SET i16 #100 5: behind a # the offset counts in numbers of that width.
const fields: Bound = (args) =>
  firstOf(
    pairs(args.slice(1)).map(([type, word]) => {
      const width = /^[iu](\d{1,2})$/.exec(type)?.[1]
      const [, times, offset] = /^(#?)(.*)$/s.exec(textOf(word)) ?? []
      return width === undefined ? undefined : tooFar((Number(offset) * (times === '#' ? Number(width) : 1)) / 8)
    }),
  )
const streams: Bound = (args) => {
  const rest = args.slice(args.findIndex((word) => textOf(word).toLowerCase() === 'streams') + 1)
  return repeats(rest.slice(0, rest.length / 2))
}

/**
 * By name. What one command may cost is what the values it names hold; these are the arguments that make it more than that: Redis runs one
 * command at a time, so that all others wait for it. Long globs have crashed servers (CVE-2024-31228), and SCAN with a huge COUNT is KEYS.
 */
const bounds = new Map<string, Bound>([
  ['scan', scan(1)],
  ...each('hscan sscan zscan', scan(2)),
  ...each('keys', patterns),
  ...each('command list|function list|pubsub channels|pubsub shardchannels', patterns, '|'),
  ...each('hrandfield srandmember zrandmember', random),
  ['memory usage', samples],
  ...each('mget pfcount sdiff sinter sunion', keys(0)),
  ...each('hmget pfmerge sdiffstore sinterstore sunionstore', keys(1)),
  ['bitop', keys(2)],
  ...each('sintercard zdiff zinter zintercard zunion', countedKeys(0)),
  ...each('zdiffstore zinterstore zunionstore', countedKeys(1)),
  ...each('xread xreadgroup', streams),
  ['setrange', bytesAt],
  ['setbit', bitAt],
  ...each('bitfield bitfield_ro', fields),
])

/** Throws `VALIDATION_FAILED` for arguments that would make a command cost more than the values it names. */
export function assertBounded(command: Words): void {
  const [name = '', part = ''] = command.slice(0, 2).map((word) => textOf(word).toLowerCase())
  const problem = bounds.get(name)?.(command.slice(1)) ?? bounds.get(`${name} ${part}`)?.(command.slice(2))
  if (problem !== undefined) throw invalid('command', `must ${problem}`)
}

function each(names: string, bound: Bound, separator = ' '): readonly (readonly [string, Bound])[] {
  return names.split(separator).map((name) => [name, bound])
}

function repeats(words: Words): string | undefined {
  const seen = new Set(words.map((word) => Buffer.from(word as string).toString('latin1')))
  return seen.size < words.length ? 'name no key or field twice' : undefined
}

function tooLong(pattern: string | Uint8Array): string | undefined {
  return Buffer.byteLength(pattern) > maxPatternBytes ? `have patterns of at most ${maxPatternBytes} bytes` : undefined
}

// Redis fills what is before it with zeros. What is no number is for Redis to refuse.
function tooFar(offset: number): string | undefined {
  return offset >= maxOffset ? `have an offset below ${maxOffset} bytes` : undefined
}

/** Each word with the one before it, in lower case. */
function pairs(words: Words): readonly (readonly [before: string, word: string | Uint8Array])[] {
  return words.map((word, index) => [textOf(words[index - 1]).toLowerCase(), word])
}

function firstOf(problems: readonly (string | undefined)[]): string | undefined {
  return problems.find((problem) => problem !== undefined)
}

function textOf(word: string | Uint8Array | undefined): string {
  return typeof word === 'string' ? word : Buffer.from(word ?? []).toString('latin1')
}
