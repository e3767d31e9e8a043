import { ApiError } from '../../../errors.ts'
import type { Target } from '../../target.ts'
import type { Commands } from '../commands.ts'
import { replyCode } from '../errors.ts'

const maxLength = 256
// Said of the connection and not of the command, or where other nodes are.
const notOfCommand: ReadonlySet<string> = new Set(['WRONGPASS', 'NOAUTH', 'MOVED', 'ASK'])
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/gu

/** One line without the code, of at most 256 characters, and nothing at all where the connection's user or password stands in it. */
export function createReasons({ user, password }: Pick<Target, 'user' | 'password'>) {
  const secrets = [user, password].flatMap((secret) => (secret ? formsOf(secret) : []))
  return (error: unknown): string | undefined => {
    const code = replyCode(error)
    if (code === undefined || notOfCommand.has(code)) return undefined
    const { message } = error as Error
    const text = Buffer.from(message.startsWith(code) ? message.slice(code.length) : message, 'latin1').toString()
    const line = text.replace(unprintable, '').trim()
    const folded = [text, line, line.replace(/\s+/g, '')].map((form) => form.toLowerCase())
    if (line === '' || secrets.some((secret) => folded.some((form) => form.includes(secret)))) return undefined
    // The user without a name.
    if (code === 'NOPERM' && /\bdefault\b/.test(line)) return undefined
    return line.slice(0, maxLength).toWellFormed()
  }
}

/** The error of a caller's own command with the reason in `details.message`; of NOPERM, `details.command` is its name as well. */
export function explained(commands: Commands, error: Error, name: string): Error {
  const code = error instanceof ApiError ? replyCode(error.cause) : undefined
  if (!(error instanceof ApiError) || code === undefined) return error
  const message = commands.reasonOf?.(error.cause)
  const { code: own, retryable, status, headers, cause } = error
  return new ApiError(own, error.message, {
    retryable,
    status,
    headers,
    cause,
    details: {
      ...(error.details as object | undefined),
      ...(code === 'NOPERM' ? { command: name.toUpperCase() } : {}),
      ...(message === undefined ? {} : { message }),
    },
  })
}

function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret)
  return [secret, encodeURIComponent(secret), bytes.toString('hex'), bytes.toString('base64').replace(/=+$/, '')].map(
    (form) => form.toLowerCase(),
  )
}
