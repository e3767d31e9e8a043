import type { Socket } from 'node:net'
import type { Wire } from '../dial.ts'
import { failed, timedOut } from '../dial-errors.ts'
import { type Call, untilAborted } from '../engine.ts'
import type { HostPort } from '../srv.ts'
import type { Target } from '../target.ts'
import { BSON } from './driver.ts'

const opMsg = 2013
const headerBytes = 16
const maxReplyBytes = 1_048_576

/** A reply begins with its own length, whose first byte can be anything. */
export const wire: Wire = { firstBytes: new Set(Array.from({ length: 256 }, (_, byte) => byte)) }

/**
 * Asks one server for `hello` over a socket of our own before the driver is let loose: the driver tells neither another protocol nor a
 * silent server from a slow one, and takes its whole selection time for each. Answers the document.
 */
export async function hello(target: Target, host: HostPort, call: Call): Promise<BSON.Document> {
  const socket = await target.dial(wire, call, host)
  call.stage?.('auth')
  try {
    return await untilAborted(ask(socket), call.signal)
  } catch (error) {
    if (call.signal.aborted)
      throw timedOut('The server accepted the connection but did not answer. Check that it is MongoDB.', error)
    throw error
  } finally {
    socket.destroy()
  }
}

function ask(socket: Socket): Promise<BSON.Document> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0)
    socket.on('error', reject)
    socket.on('close', () =>
      reject(
        failed(
          'closed',
          'The server closed the connection when greeted. Check that it is MongoDB, and whether it wants TLS.',
        ),
      ),
    )
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      if (received.length < headerBytes) return
      const length = received.readInt32LE(0)
      if (received.readInt32LE(12) !== opMsg || length > maxReplyBytes || length < headerBytes)
        return reject(otherProtocol(received[0]))
      if (received.length < length) return
      try {
        resolve(BSON.deserialize(received.subarray(headerBytes + 5, length)))
      } catch {
        reject(otherProtocol(received[0]))
      }
    })
    socket.write(request({ hello: 1, helloOk: true, $db: 'admin' }))
  })
}

// A TLS alert record, or a reply that is none of MongoDB's.
function otherProtocol(first: number | undefined) {
  return first === 0x15
    ? failed('tls', 'The server expects TLS on this port. Use the TLS form of the connection.')
    : failed('protocol', 'The server speaks another protocol on this port. Check port and type.')
}

function request(document: BSON.Document): Buffer {
  const body = BSON.serialize(document)
  const message = Buffer.alloc(headerBytes + 5 + body.length)
  message.writeInt32LE(message.length, 0)
  message.writeInt32LE(1, 4)
  message.writeInt32LE(opMsg, 12)
  message.set(body, headerBytes + 5)
  return message
}
