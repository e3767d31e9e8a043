import { describe, expect, test } from 'bun:test'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { startFakeServer } from './fake-servers.ts'
import type { FakeServer } from './fake-servers.ts'
import { startFaultProxy } from './fault-proxy.ts'

const startEcho = (): Promise<FakeServer> => startFakeServer((socket) => void socket.pipe(socket))

const dial = async (port: number): Promise<Socket> => {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  return socket
}
const say = async (socket: Socket, text: string): Promise<string> => {
  socket.write(text)
  const [answer] = await once(socket, 'data')
  return `${answer}`
}
/** Everything that arrives until the connection ends, and the code of the error that ended it. */
const hearOut = async (socket: Socket): Promise<{ heard: string; code: string | null }> => {
  let heard = ''
  try {
    for await (const chunk of socket) heard += `${chunk}`
    return { heard, code: null }
  } catch (error) {
    return { heard, code: (error as { code: string }).code }
  }
}

describe('startFaultProxy', () => {
  test('forwards both ways and counts connections', async () => {
    await using echo = await startEcho()
    await using proxy = await startFaultProxy('127.0.0.1', echo.port)
    const [first, second] = [await dial(proxy.port), await dial(proxy.port)]
    const answers = [await say(first, 'one'), await say(second, 'two')]
    expect({ answers, connections: proxy.connections }).toEqual({ answers: ['one', 'two'], connections: 2 })
  })

  test('forwards a large answer and the end after it', async () => {
    await using source = await startFakeServer((socket) => void socket.end(Buffer.alloc(5_000_000, 'x')))
    await using proxy = await startFaultProxy('127.0.0.1', source.port)
    const { heard, code } = await hearOut(await dial(proxy.port))
    expect({ length: heard.length, code }).toEqual({ length: 5_000_000, code: null })
  })

  test('a half-closed connection still gets its answer', async () => {
    await using late = await startFakeServer((socket) => {
      socket.resume().on('end', () => socket.end('after the end'))
    })
    await using proxy = await startFaultProxy('127.0.0.1', late.port)
    const socket = await dial(proxy.port)
    socket.end('question')
    expect(await hearOut(socket)).toEqual({ heard: 'after the end', code: null })
  })

  test('blackhole accepts, forwards nothing, and delivers when it passes again', async () => {
    await using echo = await startEcho()
    await using proxy = await startFaultProxy('127.0.0.1', echo.port)
    const old = await dial(proxy.port)
    await say(old, 'before')
    proxy.mode = 'blackhole'
    const fresh = await dial(proxy.port)
    const heard: string[] = []
    for (const socket of [old, fresh]) socket.on('data', (chunk) => heard.push(`${chunk}`)).write('held')
    await Bun.sleep(50)
    const dialled = { heard: [...heard], dials: echo.dials }
    proxy.mode = 'pass'
    await Promise.all([once(old, 'data'), once(fresh, 'data')])
    expect({ dialled, heard }).toEqual({ dialled: { heard: [], dials: 1 }, heard: ['held', 'held'] })
  })

  test('refuse-after-accept closes each new connection without dialling', async () => {
    await using echo = await startEcho()
    await using proxy = await startFaultProxy('127.0.0.1', echo.port)
    proxy.mode = 'refuse-after-accept'
    const { heard } = await hearOut(await dial(proxy.port))
    expect({ heard, connections: proxy.connections, dials: echo.dials }).toEqual({
      heard: '',
      connections: 1,
      dials: 0,
    })
  })

  test('setDelay delays the way there and the way back', async () => {
    await using echo = await startEcho()
    await using proxy = await startFaultProxy('127.0.0.1', echo.port)
    const socket = await dial(proxy.port)
    proxy.setDelay(40)
    const started = performance.now()
    await say(socket, 'slow')
    expect(performance.now() - started).toBeGreaterThanOrEqual(78)
  })

  test('cutAfterBytes ends the connection within an answer, once', async () => {
    await using echo = await startEcho()
    await using proxy = await startFaultProxy('127.0.0.1', echo.port)
    const cut = await dial(proxy.port)
    proxy.cutAfterBytes(4)
    cut.write('123456789')
    const { heard } = await hearOut(cut)
    expect({ heard, next: await say(await dial(proxy.port), '123456789') }).toEqual({
      heard: '1234',
      next: '123456789',
    })
  })

  test('resetAll ends connections with RST on both sides', async () => {
    const ended = Promise.withResolvers<string>()
    await using echo = await startFakeServer((socket) => {
      socket.on('error', (error: Error & { code?: string }) => ended.resolve(error.code ?? '')).pipe(socket)
    })
    await using proxy = await startFaultProxy('127.0.0.1', echo.port)
    const socket = await dial(proxy.port)
    await say(socket, 'hello')
    proxy.resetAll()
    expect([(await hearOut(socket)).code, await ended.promise]).toEqual(['ECONNRESET', 'ECONNRESET'])
  })

  test('a target that refuses resets the client', async () => {
    const gone = await startEcho()
    await gone.close()
    await using proxy = await startFaultProxy('127.0.0.1', gone.port)
    expect((await hearOut(await dial(proxy.port))).code).toBe('ECONNRESET')
  })

  test('close ends what is open, also within a blackhole', async () => {
    await using echo = await startEcho()
    const proxy = await startFaultProxy('127.0.0.1', echo.port)
    const old = await dial(proxy.port)
    await say(old, 'hello')
    proxy.mode = 'blackhole'
    const ends = Promise.all([hearOut(old), hearOut(await dial(proxy.port))])
    await proxy.close()
    expect((await ends).map(({ heard }) => heard)).toEqual(['', ''])
  })
})
