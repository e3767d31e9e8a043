import { z } from 'zod'
import { ApiError } from '../../../errors.ts'

const maxMembers = 1_000_000
const entryId = /^\d{1,20}-\d{1,20}$/

const value = z.union(
  [
    z.string().refine((text) => text.isWellFormed(), { error: 'must be well-formed text' }),
    z.strictObject({ base64: z.base64({ error: 'must be base64' }) }),
  ],
  { error: 'must be text or { "base64": "…" }' },
)
const members = <T extends z.ZodType>(item: T) => z.array(item).max(maxMembers)
const pair = z.tuple([value, value])
const score = z
  .string()
  .regex(/^[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|inf)$/, { error: 'must be a score as Redis writes it' })
const id = z.string().regex(entryId, { error: 'must be the id of an entry' })
const head = {
  key: value,
  expires_at_ms: z.int().min(0).nullable().optional(),
  ttl_ms: z.int().min(1).nullable().optional(),
}
const part = { ...head, part: z.int().min(0).optional() }
const stream = {
  entries: members(z.strictObject({ id, fields: z.array(pair).min(1) })),
  last_id: id.optional(),
  groups: z
    .array(z.strictObject({ name: value, last_delivered_id: id }))
    .max(10_000)
    .optional(),
}
const typed = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ ...part, type: z.literal('string'), value }),
    z.strictObject({ ...part, type: z.literal('list'), elements: members(value).min(1) }),
    z.strictObject({ ...part, type: z.literal('set'), members: members(value).min(1) }),
    z.strictObject({ ...part, type: z.literal('zset'), members: members(z.tuple([value, score])).min(1) }),
    z.strictObject({ ...part, type: z.literal('hash'), fields: members(pair).min(1) }),
    z.strictObject({ ...part, type: z.literal('stream'), ...stream }),
  ],
  { error: 'must be string, list, set, zset, hash or stream, or the line has a dump' },
)
const dump = z.strictObject({
  ...head,
  type: z.string().max(64).optional(),
  dump: z.base64({ error: 'must be base64' }),
  part: z.undefined().optional(),
})

/** A line that says what to write, in either form; or what an export said of itself, which is passed over. */
export type ImportLine = z.output<typeof typed> | z.output<typeof dump>

/** Reads one line; `undefined` for an export's last. Throws `VALIDATION_FAILED` that names the field, never its value. */
export function readImportLine(bytes: Buffer): ImportLine | undefined {
  const parsed = parseJson(bytes)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw wrong('The line is no JSON object.')
  if ('end' in parsed && !('key' in parsed)) return undefined
  if ('error' in parsed) throw wrong('The line says that the export could not read this key.')
  const result = 'dump' in parsed ? dump.safeParse(parsed) : typed.safeParse(parsed)
  if (!result.success) {
    const [issue] = result.error.issues
    const field = issue?.path.map(String).join('.').slice(0, 100)
    throw wrong(`${field || 'The line'}: ${issue?.message.slice(0, 200) ?? 'is not valid'}.`)
  }
  const line = result.data
  if (typeof line.expires_at_ms === 'number' && typeof line.ttl_ms === 'number')
    throw wrong('expires_at_ms and ttl_ms exclude each other.')
  return line
}

function parseJson(bytes: Buffer): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw wrong('The line is not valid UTF-8.', cause)
  }
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw wrong('The line is not valid JSON.', cause)
  }
}

function wrong(message: string, cause?: unknown): ApiError {
  return new ApiError('VALIDATION_FAILED', message, { cause })
}
