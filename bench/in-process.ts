import { createApp } from '#src/app.ts'
import { loadConfig } from '#src/config.ts'
import { createDeps, type Deps } from '#src/deps.ts'
import { createLog } from '#src/log.ts'
import type { Keys } from './server.ts'

/** The server's own app in this process, without a socket and without a log. */
export interface InProcess extends AsyncDisposable {
  readonly deps: Deps
  /** Reads the whole answer; throws unless it is 2xx. */
  ask(path: string): Promise<void>
}

/** What answers requests: the app, or a bare Hono. */
export interface Fetches {
  fetch(request: Request): Response | Promise<Response>
}

export async function openInProcess(registryUrl: string, keys: Keys): Promise<InProcess> {
  const config = loadConfig({ ...keys, DATABASE_URL: registryUrl, EGRESS_ALLOW: '127.0.0.0/8' })
  const deps = await createDeps(config, { log: createLog('silent') })
  return {
    deps,
    ask: asker(createApp(deps), keys),
    [Symbol.asyncDispose]: () => deps[Symbol.asyncDispose](),
  }
}

export function asker(app: Fetches, keys: Keys): (path: string) => Promise<void> {
  const headers = { authorization: `Bearer ${keys.BUN_API_KEY}` }
  return async (path) => {
    const answer = await app.fetch(new Request(`http://localhost${path}`, { headers }))
    const text = await answer.text()
    if (!answer.ok) throw new Error(`GET ${path} answered ${answer.status}: ${text.slice(0, 300)}`)
  }
}
