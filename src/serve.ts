import { createApp } from './app.ts'
import type { Config } from './config.ts'
import { createDeps, type Deps } from './deps.ts'
import { idleSeconds } from './http/limits.ts'
import { lastResort } from './http/on-error.ts'
import type { Log } from './log.ts'
import { portTaken } from './start-failure.ts'
import { signals } from './workers.ts'

const secondSignalMs = 1_000
const closeTimeoutMs = 2_000

/**
 * Serves until a signal: then it stops accepting, lets what is in flight finish, closes every connection, and ends the process; a second
 * signal, later than a doubled Ctrl-C, ends it at once. Throws where it can not start.
 */
export async function serve(config: Config, log: Log): Promise<void> {
  process.on('unhandledRejection', (reason) => log.error('unhandled rejection', {}, reason))
  process.on('uncaughtException', (error) => log.error('uncaught exception', {}, error))
  // The start may take seconds, and the first process of a container ignores a signal that has no handler.
  const exit = () => process.exit(0)
  for (const signal of signals) process.on(signal, exit)
  const deps = await createDeps(config, { log })
  const server = await listen(config, deps)
  deps.policy.ownPort = server.port
  let stoppingSince: number | undefined
  for (const signal of signals) process.off(signal, exit).on(signal, () => void stop(signal))
  // A worker does not outlive whoever would tell it to stop.
  if (process.send) process.on('disconnect', () => void stop('disconnect'))
  announce(config, deps, server.url)
  process.send?.('listening')

  async function stop(signal: string): Promise<void> {
    const now = performance.now()
    if (stoppingSince !== undefined) {
      if (now - stoppingSince > secondSignalMs) process.exit(1)
      return
    }
    stoppingSince = now
    deps.draining = true
    deps.stopping.abort()
    const stopped = server.stop()
    log.info('draining', { signal, in_flight: server.pendingRequests })
    const drained = await within(stopped, config.SHUTDOWN_DRAIN_MS)
    if (!drained) await server.stop(true)
    const closed = await within(deps[Symbol.asyncDispose](), closeTimeoutMs)
    log.info('stopped', { drained, closed })
    process.exit(0)
  }
}

async function listen(config: Config, deps: Deps): Promise<Bun.Server<unknown>> {
  const app = createApp(deps)
  try {
    return Bun.serve({
      port: config.PORT,
      hostname: config.hostname,
      reusePort: config.WORKERS > 1,
      // Above every route's own limit: Bun answers its own 413 with an empty body.
      maxRequestBodySize:
        Math.max(config.MAX_ENGINE_BODY_BYTES, config.MAX_REGISTRY_BODY_BYTES, config.MAX_IMPORT_BYTES) * 2,
      idleTimeout: idleSeconds(config.REQUEST_TIMEOUT_MS),
      fetch: app.fetch,
      error: (error) => lastResort(error, deps.log),
    })
  } catch (cause) {
    await deps[Symbol.asyncDispose]()
    throw portTaken(config, cause)
  }
}

function announce(running: Config, { log, serviceKeys }: Deps, url: URL): void {
  log.info('listening', { url: url.href, mode: running.mode })
  if (running.mode !== 'embedded') return
  const key = running.BUN_API_KEY === undefined ? serviceKeys[0] : '$BUN_API_KEY'
  console.error(`
  Bun API listens on ${url.href}
  Documentation     ${url.href}docs
  Registry          ${running.DATA_DIR} (embedded)

  curl -H "Authorization: Bearer ${key}" ${url.href}api/platform/databases
`)
}

/** Whether the work was done in time. */
async function within(work: PromiseLike<unknown>, ms: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), ms)
  work.then(
    () => resolve(true),
    () => resolve(true),
  )
  return promise.finally(() => clearTimeout(timer))
}
