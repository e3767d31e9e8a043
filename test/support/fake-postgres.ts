import type { Socket } from 'node:net'
import type { FakeBehaviour } from './fake-servers.ts'

const sslRequest = 80_877_103
const gssRequest = 80_877_104
/** PostgreSQL's own limit: a TLS client that goes on after `N` sends what reads as a far longer packet. */
const maxStartupLength = 10_000
const askForPassword = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])

/** Refuses TLS, reads the start-up packet, and closes cleanly without a word. */
export const postgresClosesAfterStartup: FakeBehaviour = (socket) => onStartup(socket, () => void socket.end())

/** Asks for the password in clear text, reads it, and closes cleanly without a word. */
export const postgresClosesAfterPassword: FakeBehaviour = (socket) => onPassword(socket, () => void socket.end())

/** Asks for the password in clear text, pushes what arrives to `passwords`, and answers 28P01. */
export function postgresRecordsPassword(passwords: string[]): FakeBehaviour {
  return (socket) =>
    onPassword(socket, (password) => {
      passwords.push(password)
      socket.end(errorResponse('28P01', 'password authentication failed'))
    })
}

function onPassword(socket: Socket, next: (password: string) => void): void {
  onStartup(socket, (rest) => {
    let received = rest
    const read = () => {
      if (received.length < 5 || received.length < 1 + received.readInt32BE(1)) return
      socket.off('data', take)
      next(received.toString('utf8', 5, received.readInt32BE(1)))
    }
    const take = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      read()
    }
    socket.on('data', take).write(askForPassword)
    read()
  })
}

/** Answers requests for encryption with `N`, as a server without it does, and hands on what follows the start-up packet. */
function onStartup(socket: Socket, next: (rest: Buffer) => void): void {
  let received = Buffer.alloc(0)
  const take = (chunk: Buffer): unknown => {
    received = Buffer.concat([received, chunk])
    if (received.length >= 4 && received.readUInt32BE(0) > maxStartupLength) return socket.destroy()
    while (received.length >= 8 && received.length >= received.readInt32BE(0)) {
      const code = received.readInt32BE(4)
      received = received.subarray(received.readInt32BE(0))
      if (code === sslRequest || code === gssRequest) {
        socket.write('N')
        continue
      }
      socket.off('data', take)
      next(received)
      return
    }
  }
  socket.on('data', take)
}

function errorResponse(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`)
  const header = Buffer.from([0x45, 0, 0, 0, 0])
  header.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([header, fields])
}
