import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deletePostgresVariables } from '#test/support/environment.ts'
import { startStores } from '#test/support/stores.ts'
import type { Server } from './client.ts'
import type { Type } from './reads.ts'

/** Starts real stores, a server and a second one to register with it; `cleanup` ends them all. */
export async function startAll(
  cleanup: AsyncDisposableStack,
): Promise<{ readonly server: Server; readonly targets: Readonly<Partial<Record<Type, string>>> }> {
  deletePostgresVariables()
  console.log('starting the stores')
  const { stop, redis, postgres18, mongo } = await startStores()
  cleanup.defer(stop)
  console.log('starting the servers')
  const [server, peer] = await Promise.all([startServer(cleanup), startServer(cleanup)])
  return {
    server,
    targets: {
      postgres: postgres18.url,
      ...(redis === null ? {} : { redis: redis.url }),
      ...(mongo === null ? {} : { mongodb: mongo.url }),
      bun_api: peer.url.replace('://', `://:${peer.key}@`),
    },
  }
}

async function startServer(cleanup: AsyncDisposableStack): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), 'bun-api-smoke-'))
  cleanup.defer(() => rm(folder, { recursive: true, force: true }))
  const key = randomBytes(32).toString('hex')
  // In a folder of its own, where no .env changes what it does.
  const child = Bun.spawn([process.execPath, join(import.meta.dir, '../../src/main.ts')], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: process.env['HOME'] ?? '',
      PORT: '0',
      DATA_DIR: 'data',
      BUN_API_KEY: key,
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  cleanup.defer(async () => {
    child.kill('SIGTERM')
    await child.exited
  })
  const started = Promise.withResolvers<Server>()
  // To the end: a server whose log nobody reads would stand still.
  const log = readAll(child.stdout, (text) => {
    const url = /"url":"([^"]+)\/","mode"/.exec(text)?.[1]
    if (url !== undefined) started.resolve({ url, key })
  })
  const errors = readAll(child.stderr, () => undefined)
  void Promise.all([log, errors]).then(([, text]) => started.reject(new Error(`the server did not start: ${text}`)))
  return started.promise
}

async function readAll(stream: ReadableStream<Uint8Array>, sofar: (text: string) => void): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true })
    sofar(text)
  }
  return text
}
