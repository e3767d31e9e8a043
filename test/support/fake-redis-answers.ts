import { firstCommand } from './fake-redis.ts'
import type { FakeBehaviour } from './fake-servers.ts'

/** A command as it arrived; the name in lower case, the arguments as latin1. */
export interface FakeCommand {
  readonly name: string
  readonly args: readonly string[]
}

const usual: Readonly<Record<string, string>> = {
  ping: '+PONG',
  select: '+OK',
  info: bulk('# Server\r\nredis_version:6.0.16\r\n'),
  multi: '+OK',
  discard: '+OK',
  watch: '+OK',
  unwatch: '+OK',
}

/**
 * A Redis that answers each command with a RESP reply, without its last line end; what is `undefined` is refused with ERR, and `null` ends the connection.
 */
export function redisAnswers(answer: (command: FakeCommand) => string | null | undefined): FakeBehaviour {
  return (socket) => {
    let pending = ''
    socket.on('data', (chunk) => {
      pending += chunk.toString('latin1')
      for (let command = firstCommand(pending); command !== null; command = firstCommand(pending)) {
        pending = pending.slice(command.length)
        const [name = '', ...args] = command.words
        const said = { name: name.toLowerCase(), args }
        const given = answer(said)
        if (given === null) return void socket.destroy()
        socket.write(Buffer.from(`${given ?? usual[said.name] ?? '-ERR refused'}\r\n`, 'latin1'))
      }
    })
  }
}

/** Text as a bulk string reply. */
export function bulk(text: string): string {
  const bytes = Buffer.from(text, 'utf8')
  return `$${bytes.length}\r\n${bytes.toString('latin1')}`
}
