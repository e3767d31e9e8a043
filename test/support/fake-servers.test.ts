import { describe, expect, test } from 'bun:test'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Redis } from 'ioredis'
import postgres from 'postgres'
import { canary, testPassword } from './credentials.ts'
import {
  closesAtOnce,
  http,
  postgresClosesAfterPassword,
  postgresClosesAfterStartup,
  postgresRecordsPassword,
  redisRecordsAuth,
  silent,
  sshBanner,
  startFakeServer,
} from './fake-servers.ts'
import type { FakeBehaviour } from './fake-servers.ts'

const hearOut = async (behaviour: FakeBehaviour, text: string): Promise<string> => {
  await using server = await startFakeServer(behaviour)
  const socket = connect(server.port, '127.0.0.1')
  socket.write(text)
  let heard = ''
  for await (const chunk of socket) heard += `${chunk}`
  return heard
}
const outcome = async (port: number, ssl: 'prefer' | 'verify-full' | false, password: string): Promise<unknown> => {
  const options = { host: '127.0.0.1', port, user: 'u', password, database: 'd', max: 1, connect_timeout: 5, ssl }
  const sql = postgres(options)
  try {
    return await sql`select 1`
  } catch (error) {
    return (error as { code: string }).code
  } finally {
    await sql.end({ timeout: 1 })
  }
}

describe('startFakeServer', () => {
  test('counts its connections and hands on their index', async () => {
    const indexes: number[] = []
    await using server = await startFakeServer((socket, index) => {
      indexes.push(index)
      socket.end()
    })
    for (let dial = 0; dial < 3; dial++) await once(connect(server.port, '127.0.0.1').resume(), 'close')
    expect({ indexes, dials: server.dials }).toEqual({ indexes: [0, 1, 2], dials: 3 })
  })

  test('closesAtOnce says nothing', async () => {
    expect(await hearOut(closesAtOnce, '')).toBe('')
  })

  test('silent reads and says nothing until it is closed', async () => {
    const server = await startFakeServer(silent)
    const socket = connect(server.port, '127.0.0.1')
    let heard = ''
    socket.on('data', (chunk) => (heard += `${chunk}`)).on('error', () => {})
    await once(socket, 'connect')
    await new Promise((sent) => socket.write('PING\r\n', sent))
    const closed = new Promise((resolve) => socket.on('close', resolve))
    await server.close()
    await closed
    expect(heard).toBe('')
  })

  test('http answers any bytes with 400', async () => {
    expect(await hearOut(http, '*1\r\n$4\r\nPING\r\n')).toStartWith('HTTP/1.1 400 Bad Request\r\n')
  })

  test('sshBanner speaks first', async () => {
    await using server = await startFakeServer(sshBanner)
    const socket = connect(server.port, '127.0.0.1')
    const [banner] = await once(socket, 'data')
    socket.destroy()
    expect(`${banner}`).toBe('SSH-2.0-OpenSSH_9.2p1\r\n')
  })
})

describe('PostgreSQL fakes', () => {
  const startup = '\0\0\0\x10\0\x03\0\0user\0u\0\0'
  const password = `p\0\0\0\x0b${canary}\0`

  test('postgresClosesAfterStartup closes without a word', async () => {
    expect(await hearOut(postgresClosesAfterStartup, startup)).toBe('')
  })

  test('postgresClosesAfterPassword asks for it and closes', async () => {
    expect(await hearOut(postgresClosesAfterPassword, startup + password)).toBe('R\0\0\0\b\0\0\0\x03')
  })

  test('postgresRecordsPassword hears the password of a client that does without TLS', async () => {
    const passwords: string[] = []
    await using server = await startFakeServer(postgresRecordsPassword(passwords))
    const password = testPassword()
    expect({ code: await outcome(server.port, 'prefer', password), passwords }).toEqual({
      code: '28P01',
      passwords: [password],
    })
  })

  test('postgresRecordsPassword hears nothing from a client that insists on TLS', async () => {
    const passwords: string[] = []
    await using server = await startFakeServer(postgresRecordsPassword(passwords))
    await outcome(server.port, 'verify-full', testPassword())
    expect({ passwords, dials: server.dials }).toEqual({ passwords: [], dials: 1 })
  })
})

describe('redisRecordsAuth', () => {
  test('refuses the credentials of a real client and records them', async () => {
    const received: string[] = []
    await using server = await startFakeServer(redisRecordsAuth(received))
    const redis = new Redis({ port: server.port, host: '127.0.0.1', lazyConnect: true, retryStrategy: null })
    redis.on('error', () => {})
    redis.options.password = testPassword()
    await redis.connect().catch(() => {})
    redis.disconnect()
    expect(received.join('')).toContain(canary)
  })

  test('answers each command of a split pipeline', async () => {
    await using server = await startFakeServer(redisRecordsAuth([]))
    const socket = connect(server.port, '127.0.0.1')
    const answers: string[] = []
    const parts = ['*2\r\n$4\r\nAUTH\r\n$3\r\na', '\r\n\r\n*1\r\n$4\r\nPI', 'NG\r\n']
    for (const part of parts) await new Promise((sent) => socket.write(part, sent))
    for await (const chunk of socket) {
      answers.push(...`${chunk}`.split('\r\n').filter((line) => line !== ''))
      if (answers.length === 2) break
    }
    expect(answers.map((answer) => answer.split(' ')[0])).toEqual(['-WRONGPASS', '-NOAUTH'])
  })
})
