import type { Socket } from 'node:net'
import { BSON } from 'mongodb'
import type { Document } from 'mongodb'
import type { FakeBehaviour } from './fake-servers.ts'

/** https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/ */
const opReply = 1
const opQuery = 2004
const opMsg = 2013
const headerLength = 16
const maxMessageLength = 48_000_000
const moreToCome = 2

interface Request {
  readonly document: Document
  readonly expectsReply: boolean
}

/**
 * Speaks enough of MongoDB's protocol for a driver to take it for a server. `onCommand` sees every command first, with
 * its `$db`, and its document is the answer; where it has none, hello gets a lone server's facts under `helloOf`'s (a
 * member that is undefined there is left out), ping is fine, and anything else is 59, CommandNotFound.
 */
export function fakeMongod(
  helloOf: (port: number) => Document,
  onCommand: (document: Document) => Document | undefined = () => undefined,
): FakeBehaviour {
  return (socket) => {
    const port = socket.localPort ?? 0
    const answer = (document: Document): Document => {
      const answered = onCommand(document)
      if (answered !== undefined) return { ok: 1, ...answered }
      const [name] = Object.keys(document)
      if (name === 'hello' || name === 'isMaster' || name === 'ismaster') return { ...loneServer(), ...helloOf(port) }
      if (name === 'ping') return { ok: 1 }
      return { ok: 0, code: 59, codeName: 'CommandNotFound', errmsg: 'no such command' }
    }
    onMessage(socket, (message) => {
      const opCode = message.readInt32LE(12)
      const { document, expectsReply } = opCode === opQuery ? readQuery(message) : readMsg(message)
      const reply = answer(document)
      if (expectsReply) socket.write(frame(message.readInt32LE(4), opCode, BSON.serialize(reply)))
    })
  }
}

function loneServer(): Document {
  return {
    ok: 1,
    helloOk: true,
    isWritablePrimary: true,
    ismaster: true,
    minWireVersion: 0,
    maxWireVersion: 21,
    maxBsonObjectSize: 16_777_216,
    maxMessageSizeBytes: maxMessageLength,
    maxWriteBatchSize: 100_000,
    localTime: new Date(),
    logicalSessionTimeoutMinutes: 30,
    connectionId: 1,
    readOnly: false,
  }
}

/** Calls with each whole message; whatever is not of this protocol, as a TLS handshake, closes the connection. */
function onMessage(socket: Socket, take: (message: Buffer) => void): void {
  let received: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    while (received.length >= headerLength) {
      const length = received.readInt32LE(0)
      const known = [opQuery, opMsg].includes(received.readInt32LE(12))
      if (!known || length < headerLength || length > maxMessageLength) return void socket.destroy()
      if (received.length < length) return
      const message = received.subarray(0, length)
      received = received.subarray(length)
      take(message)
    }
  })
}

/** OP_QUERY: flags, a collection's name that ends with a zero, skip, limit, the document. */
function readQuery(message: Buffer): Request {
  const nameEnd = message.indexOf(0, headerLength + 4)
  return { document: readDocument(message, nameEnd + 1 + 8), expectsReply: true }
}

/** OP_MSG: flags, then sections: kind 0 is the command, kind 1 a named list of documents that belongs into it. */
function readMsg(message: Buffer): Request {
  const flags = message.readUInt32LE(headerLength)
  const end = message.length - (flags & 1) * 4
  let document: Document = {}
  for (let position = headerLength + 4; position < end;) {
    const kind = message[position]
    const start = position + 1
    position = start + message.readInt32LE(start)
    document =
      kind === 0 ? { ...readDocument(message, start), ...document } : { ...document, ...readList(message, start) }
  }
  return { document, expectsReply: (flags & moreToCome) === 0 }
}

function readList(message: Buffer, start: number): Document {
  const end = start + message.readInt32LE(start)
  const nameEnd = message.indexOf(0, start + 4)
  const documents: Document[] = []
  for (let position = nameEnd + 1; position < end; position += message.readInt32LE(position)) {
    documents.push(readDocument(message, position))
  }
  return { [message.toString('utf8', start + 4, nameEnd)]: documents }
}

function readDocument(message: Buffer, start: number): Document {
  return BSON.deserialize(message.subarray(start, start + message.readInt32LE(start)))
}

function frame(requestId: number, opCode: number, document: Uint8Array): Buffer {
  const isReply = opCode === opQuery
  const preamble = Buffer.alloc(isReply ? 36 : 21)
  preamble.writeInt32LE(preamble.length + document.length, 0)
  preamble.writeInt32LE(1, 4)
  preamble.writeInt32LE(requestId, 8)
  preamble.writeInt32LE(isReply ? opReply : opMsg, 12)
  // OP_REPLY: flags, cursor, start, and the count of documents; OP_MSG: flags and the kind of its one section, all zero.
  if (isReply) preamble.writeInt32LE(1, 32)
  return Buffer.concat([preamble, document])
}
