import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { connect } from 'node:net'
import { createScratchDatabase } from '#test/support/app.ts'
import { stores } from '#test/support/stores.ts'
import { clientOf, productionEnvironment, type ServerProcess, startServer } from '../e2e/server.ts'

const route = '/api/platform/organizations'
let registry: Awaited<ReturnType<typeof createScratchDatabase>>
let server: ServerProcess
let key = ''
let port = 0
beforeAll(async () => {
  registry = await createScratchDatabase(stores().postgres18)
  const limits = { MAX_REGISTRY_BODY_BYTES: '2048', MAX_ENGINE_BODY_BYTES: '4096', MAX_IMPORT_BYTES: '1048576' }
  const env = { ...productionEnvironment(registry.url), ...limits }
  key = env.BUN_API_KEY
  server = startServer({ env })
  port = Number(new URL(await server.url).port)
}, 60_000)
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await registry[Symbol.asyncDispose]()
})

interface Exchange {
  readonly statuses: readonly number[]
  readonly text: string
}

/** Sends the bytes as they are, and reads until the server closes or `enough` answers have come. */
function exchange(parts: readonly string[], enough = 1): Promise<Exchange> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(port, '127.0.0.1')
    const read = () => ({ text, statuses: [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => Number(match[1])) })
    const finish = () => {
      socket.destroy()
      resolve(read())
    }
    socket.on('error', finish).on('close', finish)
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (read().statuses.length >= enough) finish()
    })
    for (const part of parts) socket.write(part)
  })
}

const head = (method: string, path: string, ...headers: string[]) =>
  [`${method} ${path} HTTP/1.1`, 'Host: localhost', ...headers, '', ''].join('\r\n')
const authorized = () => `Authorization: Bearer ${key}`
const json = 'Content-Type: application/json'
const slugs = async () => {
  const answer = await clientOf(`http://127.0.0.1:${port}`, key).request('GET', route)
  return ((await answer.json()) as { slug: string }[]).map((row) => row.slug)
}

describe('on the wire', () => {
  for (const [name, headers] of [
    ['one header of 20 kB', [`X-Large: ${'x'.repeat(20_000)}`]],
    ['300 headers', Array.from({ length: 300 }, (_, index) => `X-Many-${index}: ${'y'.repeat(60)}`)],
  ] as const) {
    test(`431 ${name}`, async () => {
      const { statuses } = await exchange([head('GET', '/health', ...headers)])
      expect(statuses).toEqual([431])
    })
  }

  for (const [name, request] of [
    ['two lengths', () => `${head('POST', route, authorized(), json, 'Content-Length: 4', 'Content-Length: 30')}null`],
    [
      'a length and chunks',
      () => `${head('POST', route, authorized(), json, 'Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    ],
    [
      'chunks and a length',
      () => `${head('POST', route, authorized(), json, 'Transfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n`,
    ],
    [
      'an unknown transfer encoding',
      () => `${head('POST', route, authorized(), json, 'Transfer-Encoding: chunked, identity')}0\r\n\r\n`,
    ],
    ['a negative length', () => head('POST', route, authorized(), json, 'Content-Length: -1')],
    ['a length that is no number', () => head('POST', route, authorized(), json, 'Content-Length: 4x')],
    [
      'a bad chunk size',
      () => `${head('POST', route, authorized(), json, 'Transfer-Encoding: chunked')}zz\r\n{}\r\n0\r\n\r\n`,
    ],
    ['a space before the colon', () => head('GET', route, `Authorization : Bearer ${key}`)],
    ['a folded header', () => head('GET', route, 'X-Folded: a', ` Authorization: Bearer ${key}`)],
  ] as const) {
    test(`4xx and the end of the connection: ${name}`, async () => {
      const smuggled = head('GET', '/health', authorized())
      const { statuses } = await exchange([request() + smuggled], 2)
      expect(statuses.filter((status) => status < 400)).toEqual([])
      expect(statuses.length).toBeLessThanOrEqual(1)
    })
  }

  test('a chunk without its terminator takes no second request with it', async () => {
    const first = head('POST', route, authorized(), json, 'Transfer-Encoding: chunked')
    const { statuses } = await exchange([`${first}2\r\n{}XX0\r\n\r\n${head('GET', '/health')}`], 2)
    expect(statuses.filter((status) => status < 400)).toEqual([])
  })

  test('413 a body above the largest any route takes, before it has come', async () => {
    const { statuses, text } = await exchange([head('POST', route, authorized(), json, 'Content-Length: 9000000')])
    expect(statuses).toEqual([413])
    expect(text).not.toContain('"code"')
  })

  for (const [name, framing] of [
    ['with its length', (body: string) => [`Content-Length: ${body.length}`, body]],
    [
      'in chunks',
      (body: string) => ['Transfer-Encoding: chunked', `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`],
    ],
  ] as const) {
    test(`413 a body above its route's limit ${name}, in our own words, and nothing is done`, async () => {
      const body = JSON.stringify({ name: 'x'.repeat(2_500), slug: 'must-not-be' })
      const [header = '', bytes = ''] = framing(body)
      const { statuses, text } = await exchange([head('POST', route, authorized(), json, header) + bytes])
      expect(statuses).toEqual([413])
      expect(text).toContain('"code":"PAYLOAD_TOO_LARGE"')
      expect(await slugs()).not.toContain('must-not-be')
    })
  }

  test('a body that never comes holds up nobody', async () => {
    const slow = connect(port, '127.0.0.1')
    const closed = new Promise((resolve) => slow.once('close', resolve))
    slow.on('error', () => undefined)
    slow.write(`${head('POST', route, authorized(), json, 'Content-Length: 1000')}{"na`)
    const began = performance.now()
    const answers = await Promise.all(Array.from({ length: 20 }, () => slugs()))
    expect(answers).toHaveLength(20)
    expect(performance.now() - began).toBeLessThan(2_000)
    slow.destroy()
    await closed
  })

  for (const host of [
    'a/?#',
    'localhost/health?',
    'localhost/health#',
    'x@localhost/docs?',
    '/health',
    '[::1]/health',
    '\\health?',
  ]) {
    test(`400 the Host ${host}, with a key and without`, async () => {
      const answers = await Promise.all(
        [`X-None: 1`, authorized()].map((header) =>
          exchange([`GET ${route} HTTP/1.1\r\nHost: ${host}\r\n${header}\r\n\r\n`]),
        ),
      )
      expect(answers.map(({ statuses }) => statuses)).toEqual([[400], [400]])
      expect(answers.map(({ text }) => text.includes('"field":"host"'))).toEqual([true, true])
    })
  }

  for (const target of [
    `http://localhost/health?${route}`,
    `http://localhost${route}`,
    `//${route}`,
    `/health/../${route.slice(1)}`,
    '*',
  ]) {
    test(`no rows without a key for the target ${target}`, async () => {
      const { text } = await exchange([`GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`])
      expect(text).toMatch(/^HTTP\/1\.1 \d{3}/)
      expect(text).not.toContain('"slug"')
    })
  }

  test('a connection takes one request after the other', async () => {
    const request = head('GET', '/health')
    expect((await exchange([request, request, request], 3)).statuses).toEqual([200, 200, 200])
  })
})
