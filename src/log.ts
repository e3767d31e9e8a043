import pino from 'pino'
import { ApiError, codeOf } from './errors.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>

/**
 * JSON lines, safe by construction: fields are scalars that our own code names, and an error is told by class, code and stack frames,
 * never by its message, which may quote a connection string.
 */
export interface Log {
  debug(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields, error?: unknown): void
  error(event: string, fields?: LogFields, error?: unknown): void
}

/** `destination` takes whole lines; standard output unless given. */
export function createLog(level: LogLevel, destination?: { write(line: string): void }): Log {
  const sink = destination ?? pino.destination({ dest: 1, sync: true })
  const logger = pino(
    {
      level,
      base: null,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    sink as pino.DestinationStream,
  )
  const write = (at: 'debug' | 'info' | 'warn' | 'error') => (event: string, fields?: LogFields, error?: unknown) =>
    logger[at](error === undefined ? { ...fields } : { ...fields, ...describeError(error) }, event)
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}

/** Class, code and stack frames of an error and its cause. Only an `ApiError`'s message is ours, so only that is repeated. */
export function describeError(error: unknown): Readonly<Record<string, unknown>> {
  const cause = error instanceof Error ? error.cause : undefined
  return {
    error: nameOf(error),
    error_code: wordOf(codeOf(error)),
    error_message: error instanceof ApiError ? error.message : undefined,
    stack: framesOf(error),
    ...(cause === undefined
      ? {}
      : { cause: nameOf(cause), cause_code: wordOf(codeOf(cause)), cause_stack: framesOf(cause) }),
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? (wordOf(error.name) ?? 'Error') : typeof error
}

/** A class or code as it is; whatever else a library put there may quote a secret. */
function wordOf(text: string | undefined): string | undefined {
  return text !== undefined && /^[\w.-]{1,64}$/.test(text) ? text : undefined
}

// The stack begins with the message, whose lines may look like frames.
function framesOf(error: unknown): readonly string[] | undefined {
  if (!(error instanceof Error) || !error.stack) return undefined
  return error.stack
    .replace(error.message, '')
    .split('\n')
    .flatMap((line) => /^ {4}at (.{1,200})$/.exec(line)?.[1] ?? [])
    .slice(0, 8)
}
