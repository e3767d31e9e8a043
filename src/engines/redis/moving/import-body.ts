import { ApiError } from '../../../errors.ts'

/** One line of a body, counted from 1; `undefined` where it is longer than a line may be. */
export interface BodyLine {
  readonly line: number
  readonly bytes: Buffer | undefined
}

const newline = 0x0a

/** The lines of a body as it arrives, empty ones left out. Takes memory for one line. `PAYLOAD_TOO_LARGE` above `maxBytes` of all. */
export async function* splitLines(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { maxBytes, maxLineBytes }: { readonly maxBytes: number; readonly maxLineBytes: number },
): AsyncGenerator<BodyLine, undefined> {
  let read = 0
  let line = 1
  let parts: Buffer[] = []
  let length = 0
  const take = (): BodyLine | undefined => {
    const whole = length > maxLineBytes ? undefined : parts.length === 1 ? parts[0] : Buffer.concat(parts)
    const isEmpty = whole !== undefined && isBlank(whole)
    const made = { line, bytes: whole }
    line += 1
    parts = []
    length = 0
    return isEmpty ? undefined : made
  }
  const add = (bytes: Buffer) => {
    length += bytes.length
    if (length <= maxLineBytes) parts.push(bytes)
    else parts = []
  }
  for await (const chunk of body) {
    read += chunk.length
    if (read > maxBytes)
      throw new ApiError('PAYLOAD_TOO_LARGE', `The body is larger than ${maxBytes} bytes, the most an import takes.`)
    const buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
    let from = 0
    for (let at = buffer.indexOf(newline); at !== -1; at = buffer.indexOf(newline, from)) {
      add(buffer.subarray(from, at))
      from = at + 1
      const made = take()
      if (made !== undefined) yield made
    }
    if (from < buffer.length) add(Buffer.from(buffer.subarray(from)))
  }
  const last = length === 0 ? undefined : take()
  if (last !== undefined) yield last
}

function isBlank(bytes: Buffer): boolean {
  return bytes.length < 64 && bytes.toString('latin1').trim() === ''
}
