import { expect, test } from 'bun:test'
import { createTestApp } from '#test/support/app.ts'
import { startFakeServer } from '#test/support/fake-servers.ts'

test('413 an answer to SCAN with far more keys than were asked for, and the process goes on', async () => {
  const keys = Array.from({ length: 50_000 }, (_, index) => `$6\r\nk${String(index).padStart(5, '0')}\r\n`)
  const flood = `*2\r\n$1\r\n5\r\n*${keys.length}\r\n${keys.join('')}`
  await using server = await startFakeServer((socket) => {
    socket.on('data', (chunk: Buffer) => socket.write(/scan/i.test(chunk.toString()) ? flood : '+PONG\r\n'))
  })
  await using app = await createTestApp()
  const body = {
    projectRef: 'default',
    name: 'hostile',
    type: 'redis',
    connectionString: `redis://127.0.0.1:${server.port}`,
  }
  const { id } = (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body
  const started = performance.now()
  const answer = await app.request('GET', `/api/platform/redis/${id}/keys`)
  expect([answer.status, answer.body.error.code]).toEqual([413, 'RESULT_TOO_LARGE'])
  expect(performance.now() - started).toBeLessThan(2_000)
})
