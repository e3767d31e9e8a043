import type { Config } from './config.ts'
import type { Log } from './log.ts'
import { portTaken } from './start-failure.ts'

/** What ends a server. */
export const signals = ['SIGTERM', 'SIGINT'] as const

const restartAfterMs = 1_000

/**
 * Runs `WORKERS` servers that share one port, each an instance of its own with its own connections and limits. One that ends unasked is
 * replaced, the others go on. Answers the exit code once a signal, which all of them are told, has ended them; where the first can not start,
 * its exit code at once, for it has said why.
 */
export async function supervise(
  config: Config,
  environment: Readonly<Record<string, string | undefined>>,
  log: Log,
): Promise<number> {
  const env = { ...environment, PORT: String(await freePort(config)) }
  const running = new Set<Bun.Subprocess>()
  const stopping = Promise.withResolvers<void>()
  let isStopping = false
  for (const signal of signals)
    process.on(signal, () => {
      isStopping = true
      stopping.resolve()
      for (const worker of running) worker.kill(signal)
    })

  const first = start()
  if (!(await first.listening)) return await first.exited
  const others = Array.from({ length: config.WORKERS - 1 }, start)
  const codes = await Promise.all([first, ...others].map(keepUp))
  return Math.max(...codes)

  function start() {
    const heard = Promise.withResolvers<boolean>()
    const worker = Bun.spawn([process.execPath, ...process.execArgv, Bun.main, 'worker'], {
      env,
      stdio: ['ignore', 'inherit', 'inherit'],
      ipc: () => heard.resolve(true),
    })
    running.add(worker)
    const exited = worker.exited.then((code) => {
      running.delete(worker)
      heard.resolve(false)
      return code
    })
    return { exited, listening: heard.promise }
  }

  async function keepUp(worker: ReturnType<typeof start>): Promise<number> {
    const code = await worker.exited
    if (isStopping) return code
    log.error('worker ended', { code })
    await Promise.race([Bun.sleep(restartAfterMs), stopping.promise])
    return isStopping ? code : await keepUp(start())
  }
}

/** A port that nobody else has: workers would share another server's in silence. */
async function freePort({ PORT: port, hostname }: Config): Promise<number> {
  try {
    const listener = Bun.listen({ port, hostname, socket: { data: () => undefined } })
    const found = listener.port
    listener.stop(true)
    return found
  } catch (cause) {
    throw portTaken({ PORT: port, hostname }, cause)
  }
}
