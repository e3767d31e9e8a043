import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { ApiError } from '../../errors.ts'
import { failed } from '../dial-errors.ts'

/** What postgres.js sees of a socket: only bytes that passed the guard. */
export interface GuardedSocket {
  readonly stream: EventEmitter
  /** Ends the connection with `RESULT_TOO_LARGE` once more than this many further bytes arrive. */
  limitBytes(bytes: number): void
}

// COPY's messages and FunctionCallResponse are left out: nothing here asks for them, and an answer with one stalls the driver.
const knownTypes = new Set(Buffer.from('RSKZTDC123tnsENIAv'))
const rowDescription = 0x54
const authentication = 0x52
// 1,664 columns, PostgreSQL's most, with names of 63 bytes.
const maxInspectedBytes = 262_144
const startBytes = 262_144
// PostgreSQL's default is 4,096. The driver derives the key synchronously, so a hostile count would stop the process.
const maxScramIterations = 100_000

/**
 * Stands between the socket and postgres.js, which trusts the server: a row description without its NUL bytes or a huge SCRAM
 * iteration count would block the process, and a malformed challenge rejects where nobody listens.
 */
export function guardSocket(socket: Socket): GuardedSocket {
  const inspect = inspector()
  let left = startBytes
  const stream = Object.assign(new EventEmitter(), {
    write: (bytes: Uint8Array, done?: () => void) => socket.write(bytes, done),
    end: (bytes: Uint8Array) => socket.end(bytes),
    destroy: () => socket.destroy(),
    setKeepAlive: (enable: boolean, delayMs: number) => socket.setKeepAlive(enable, delayMs),
  })
  Object.defineProperty(stream, 'readyState', { get: () => socket.readyState })
  socket.on('data', (chunk: Buffer) => {
    if (socket.destroyed) return
    left -= chunk.length
    const problem = left < 0 ? tooLarge() : inspect(chunk)
    if (problem === undefined) stream.emit('data', chunk)
    else socket.destroy(problem)
  })
  socket.on('drain', () => stream.emit('drain'))
  // The driver takes its listeners off when it is done; an error without a listener would be thrown.
  socket.on('error', (error) => stream.listenerCount('error') > 0 && stream.emit('error', error))
  socket.on('close', (hadError) => stream.emit('close', hadError))
  return {
    stream,
    limitBytes(bytes) {
      left = bytes
    },
  }
}

/** Follows the messages in a stream of chunks; answers what is wrong with the first that the driver could not take. */
function inspector(): (chunk: Buffer) => ApiError | undefined {
  const header = Buffer.alloc(5)
  let headerLength = 0
  let bodyLeft = 0
  let kept: Buffer[] | undefined
  return (chunk) => {
    let at = 0
    while (at < chunk.length) {
      if (headerLength < 5) {
        const copied = chunk.copy(header, headerLength, at)
        headerLength += copied
        at += copied
        if (headerLength < 5) return undefined
        const [type = 0, length] = [header[0], header.readUInt32BE(1)]
        if (!knownTypes.has(type) || length < 4) return malformed()
        bodyLeft = length - 4
        kept = type === rowDescription || type === authentication ? [] : undefined
        if (kept && bodyLeft > maxInspectedBytes) return malformed()
      }
      const taken = Math.min(bodyLeft, chunk.length - at)
      kept?.push(chunk.subarray(at, at + taken))
      bodyLeft -= taken
      at += taken
      if (bodyLeft > 0) return undefined
      headerLength = 0
      if (kept === undefined) continue
      const body = Buffer.concat(kept)
      const problem = header[0] === rowDescription ? checkColumns(body) : checkAuthentication(body)
      if (problem) return problem
    }
    return undefined
  }
}

function checkColumns(body: Buffer): ApiError | undefined {
  if (body.length < 2) return malformed()
  let at = 2
  for (let column = body.readUInt16BE(0); column > 0; column--) {
    const end = body.indexOf(0, at)
    if (end === -1) return malformed()
    at = end + 19
    if (at > body.length) return malformed()
  }
  return undefined
}

// https://www.postgresql.org/docs/current/protocol-message-formats.html: Ok, CleartextPassword, MD5Password, SASL, SASLContinue, SASLFinal.
function checkAuthentication(body: Buffer): ApiError | undefined {
  if (body.length < 4) return malformed()
  const text = body.toString('latin1', 4)
  switch (body.readUInt32BE(0)) {
    case 0:
    case 3:
    case 12:
      return undefined
    case 5:
      return body.length === 8 ? undefined : malformed()
    case 10:
      return text.split('\0').includes('SCRAM-SHA-256') ? undefined : unknownAuthentication()
    case 11: {
      const count = /^r=[^,]+,s=[A-Za-z0-9+/]+=*,i=(\d{1,9})(?:,|$)/.exec(text)?.[1]
      return count !== undefined && Number(count) >= 1 && Number(count) <= maxScramIterations ? undefined : malformed()
    }
  }
  return unknownAuthentication()
}

function malformed(): ApiError {
  return failed('protocol', 'The server sent what a PostgreSQL server does not send. Check port and type.')
}

function unknownAuthentication(): ApiError {
  return new ApiError(
    'DB_UNSUPPORTED',
    'The server asks for a way of authentication that this server does not know. Use SCRAM-SHA-256 or a password.',
  )
}

function tooLarge(): ApiError {
  return new ApiError('RESULT_TOO_LARGE', 'The result is larger than one answer may be. Ask for fewer rows or columns.')
}
