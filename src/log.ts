import SonicBoom from 'sonic-boom'
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
  /** `info` for what happens with every request: its fields as JSON, without the braces. */
  infoText(event: string, fields: string): void
  warn(event: string, fields?: LogFields, error?: unknown): void
  error(event: string, fields?: LogFields, error?: unknown): void
  /** Writes the lines that wait. */
  flush(): void
}

/** Where lines go; `flushSync` writes those that wait. */
export interface Sink {
  write(line: string): void
  flushSync?(): void
}

// A write for each request costs more than most requests, so lines are written together. Warnings and errors wait for nobody.
const linesTogether = 65_536
/** What a pipe takes whole from several processes that write to it (PIPE_BUF of Linux, pipe(7)). */
export const wholeLines = 4_096
const linesTogetherMs = 100
const levels = ['debug', 'info', 'warn', 'error', 'silent'] as const satisfies readonly LogLevel[]

/** `sink` takes whole lines; standard output unless given. All lines have the fields of their `origin`. */
export function createLog(level: LogLevel, sink: Sink = standardOutput(), origin: LogFields = {}): Log {
  const source = JSON.stringify(origin).slice(1, -1).replace(/^./, ',$&')
  const lowest = levels.indexOf(level)
  const tellsInfo = levels.indexOf('info') >= lowest
  const write = (at: LogLevel, event: string, fields: object | undefined) => {
    if (levels.indexOf(at) < lowest) return
    const more = fields === undefined ? '{}' : JSON.stringify(fields)
    sink.write(
      `{"level":"${at}",${timeField()}${source},"event":${JSON.stringify(event)}${more === '{}' ? '' : ','}${more.slice(1)}\n`,
    )
  }
  const writeNow = (at: LogLevel, event: string, fields?: LogFields, error?: unknown) => {
    write(at, event, error === undefined ? fields : { ...fields, ...describeError(error) })
    sink.flushSync?.()
  }
  return {
    debug: (event, fields) => write('debug', event, fields),
    info: (event, fields) => write('info', event, fields),
    infoText(event, fields) {
      if (tellsInfo) sink.write(`{"level":"info",${timeField()}${source},"event":"${event}",${fields}}\n`)
    },
    warn: (event, fields, error) => writeNow('warn', event, fields, error),
    error: (event, fields, error) => writeNow('error', event, fields, error),
    flush: () => sink.flushSync?.(),
  }
}

/** Writes lines together, so many characters at once unless one line alone is longer. */
export function standardOutput(together = linesTogether): Sink {
  const file = new SonicBoom({ fd: 1, sync: true, contentMode: 'buffer', maxWrite: together })
  const write = file.write.bind(file) as unknown as (bytes: Buffer) => boolean
  let waiting = ''
  const flushSync = () => {
    const text = waiting
    waiting = ''
    if (text !== '') write(Buffer.from(text))
  }
  setInterval(flushSync, linesTogetherMs).unref()
  process.on('exit', flushSync)
  return {
    write(line) {
      if (waiting.length + line.length > together) flushSync()
      // Made one when it is written: to copy each line on its own costs twice as much.
      waiting += line
    },
    flushSync,
  }
}

let clock = { ms: 0, field: '' }

// Written once a millisecond, not once a line.
function timeField(): string {
  const ms = Date.now()
  if (ms !== clock.ms) clock = { ms, field: `"time":"${new Date(ms).toISOString()}"` }
  return clock.field
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
