import { ApiError } from '../errors.ts'

const maxDepth = 64
// As JSON.parse does, it does not take a byte order mark for a part of the text.
const decoder = new TextDecoder('utf-8', { fatal: true })
const number = /-?\d+(\.\d+)?([eE][+-]?\d+)?/y

/** What is wrong with a JSON body although it parses; `field` is the key that is given twice. */
export interface JsonProblem {
  readonly field?: string
  readonly rule: string
}

/**
 * The value of a JSON body; throws `VALIDATION_FAILED` for what is none, and for what `findJsonProblem` finds. Text that is written again as
 * it came has lost nothing: that is seen sooner than by reading it character by character.
 */
export function parseJson(bytes: ArrayBuffer): unknown {
  try {
    const text = decoder.decode(bytes)
    const value: unknown = JSON.parse(text)
    if (JSON.stringify(value) === text && isShallow(value, maxDepth)) return value
  } catch {
    // What is wrong with it is found below.
  }
  refuseJsonProblem(bytes)
  try {
    return JSON.parse(decoder.decode(bytes))
  } catch (cause) {
    throw new ApiError('VALIDATION_FAILED', 'The body is not valid JSON.', {
      details: [{ in: 'body', field: 'body', rule: 'must be valid JSON' }],
      cause,
    })
  }
}

/** Throws `VALIDATION_FAILED` for what `findJsonProblem` finds. */
export function refuseJsonProblem(bytes: ArrayBuffer): void {
  const problem = findJsonProblem(bytes)
  if (problem === undefined) return
  const { field = 'body', rule } = problem
  throw new ApiError('VALIDATION_FAILED', `${field}: ${rule}.`, { details: [{ in: 'body', field, rule }] })
}

function isShallow(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (levels === 0) return false
  for (const key in value) if (!isShallow((value as Readonly<Record<string, unknown>>)[key], levels - 1)) return false
  return true
}

/**
 * Finds what `JSON.parse` would change in silence or choke on later: bad UTF-8, depth above 64, a key given twice in one object, and
 * numbers a double can't hold. Text that is not JSON is left to the parser.
 */
export function findJsonProblem(bytes: ArrayBuffer): JsonProblem | undefined {
  let text: string
  try {
    text = decoder.decode(bytes)
  } catch {
    return { rule: 'must be valid UTF-8' }
  }
  // The keys of each object that is open; null stands for an array.
  const open: (Set<string> | null)[] = []
  for (let index = 0; index < text.length; index++) {
    const character = text[index]
    if (character === '"') {
      const end = endOfString(text, index)
      const keys = open.at(-1)
      if (keys && isKey(text, end)) {
        const key = unquote(text.slice(index, end))
        if (keys.has(key)) return { field: key.slice(0, 100), rule: 'must not be given twice' }
        keys.add(key)
      }
      index = end - 1
    } else if (character === '{' || character === '[') {
      if (open.push(character === '{' ? new Set() : null) > maxDepth)
        return { rule: `must not be nested deeper than ${maxDepth} levels` }
    } else if (character === '}' || character === ']') open.pop()
    else if (character === '-' || (character !== undefined && character >= '0' && character <= '9')) {
      number.lastIndex = index
      const literal = number.exec(text)
      if (literal === null) continue
      if (!survives(literal)) return { rule: 'must not hold a number that a double can not; send it as text' }
      index = number.lastIndex - 1
    }
  }
  return undefined
}

/** The index after the closing quote, or the end of the text. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let first = end
    while (text[first - 1] === '\\') first--
    if ((end - first) % 2 === 0) return end + 1
  }
  return text.length
}

function isKey(text: string, end: number): boolean {
  let index = end
  while (' \t\n\r'.includes(text[index] ?? ':')) index++
  return text[index] === ':'
}

function unquote(literal: string): string {
  try {
    return String(JSON.parse(literal))
  } catch {
    return literal
  }
}

// A number survives when its digits do: 1.10 is 1.1, but 9007199254740993.0 or twenty digits of a fraction are another number.
function survives([literal]: RegExpExecArray): boolean {
  const value = Number(literal)
  return Number.isFinite(value) && digitsOf(literal) === digitsOf(String(value))
}

/** Significant digits and the power of ten of the last of them: the same for every spelling of a number. */
function digitsOf(literal: string): string {
  const [, whole = '', fraction = '', power = '0'] = /^-?(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(literal) ?? []
  const digits = (whole + fraction).replace(/^0+/, '')
  const significant = digits.replace(/0+$/, '')
  return significant === ''
    ? '0'
    : `${significant}e${Number(power) - fraction.length + digits.length - significant.length}`
}
