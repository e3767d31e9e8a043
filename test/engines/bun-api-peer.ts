import { afterAll } from 'bun:test'
import type { Server } from 'bun'
import { randomBytes } from 'node:crypto'
import { createApp } from '#src/app.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { canary, stores } from '#test/support/stores.ts'

/** A second instance of this server, plain and over TLS with the certificate of `localhost`; it starts with the first request to it. */
export interface BunApiPeer {
  readonly port: number
  readonly tlsPort: number
  readonly key: string
}

let running: BunApiPeer | undefined
let app: Promise<TestApp> | undefined
const servers: Server<undefined>[] = []

/** The one peer of this test file. */
export function bunApiPeer(): BunApiPeer {
  running ??= start()
  return running
}

function start(): BunApiPeer {
  const key = `${canary}-peer-${randomBytes(32).toString('base64url')}`
  const serve = (tls?: { cert: string; key: string }) => {
    const fetch = async (request: Request) => {
      app ??= createTestApp({ env: { BUN_API_KEY: key } })
      return createApp((await app).deps).fetch(request)
    }
    const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch, ...(tls === undefined ? {} : { tls }) })
    servers.push(server)
    return server.port ?? 0
  }
  return { port: serve(), tlsPort: serve(stores().certificates.server), key }
}

afterAll(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop(true)))
  await (await app)?.[Symbol.asyncDispose]()
  app = undefined
  running = undefined
})
