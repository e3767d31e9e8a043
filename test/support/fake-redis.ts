import type { FakeBehaviour } from './fake-servers.ts'

/** Pushes every chunk that arrives, as latin1, to `received`; refuses AUTH and HELLO AUTH as a real Redis does, and everything else for want of it. */
export function redisRecordsAuth(received: string[]): FakeBehaviour {
  return (socket) => {
    let pending = ''
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      received.push(text)
      pending += text
      for (let command = firstCommand(pending); command !== null; command = firstCommand(pending)) {
        pending = pending.slice(command.length)
        const refused = command.words.some((word) => word.toUpperCase() === 'AUTH')
        socket.write(
          refused
            ? '-WRONGPASS invalid username-password pair or user is disabled.\r\n'
            : '-NOAUTH Authentication required.\r\n',
        )
      }
    })
  }
}

/** The first whole RESP array in the text, and how long it is; null while it has not all arrived. */
export function firstCommand(text: string): { readonly words: readonly string[]; readonly length: number } | null {
  const count = /^\*(\d+)\r\n/.exec(text)
  if (count === null) return null
  const words: string[] = []
  let position = count[0].length
  for (let index = 0; index < Number(count[1]); index++) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(position))
    if (size === null) return null
    const start = position + size[0].length
    position = start + Number(size[1]) + 2
    if (text.length < position) return null
    words.push(text.slice(start, position - 2))
  }
  return { words, length: position }
}
