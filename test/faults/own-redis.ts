import { Redis } from 'ioredis'
import { freePorts } from '#test/support/ports.ts'
import { canary } from '#test/support/stores.ts'

/** A Redis of one test's own, to freeze, kill and start again on the same port. */
export interface OwnRedis extends AsyncDisposable {
  readonly url: string
  readonly port: number
  freeze(): void
  thaw(): void
  kill(): Promise<void>
  start(): Promise<void>
  /** A client past the server under test. */
  use<T>(run: (redis: Redis) => Promise<T>): Promise<T>
}

const password = `${canary}-own`

export async function startOwnRedis(): Promise<OwnRedis> {
  const [port] = await freePorts()
  let child: Bun.Subprocess | undefined
  const use = async <T>(run: (redis: Redis) => Promise<T>) => {
    const redis = new Redis({ host: '127.0.0.1', port, password, lazyConnect: true, retryStrategy: () => null })
    redis.on('error', () => undefined)
    try {
      await redis.connect()
      return await run(redis)
    } finally {
      redis.disconnect()
    }
  }
  const start = async () => {
    const settings = ['bind 127.0.0.1', `port ${port}`, 'save ""', 'dir /tmp', `requirepass ${password}`, '']
    child = Bun.spawn(['redis-server', '-'], {
      stdin: new Blob([settings.join('\n')]),
      stdout: 'ignore',
      stderr: 'ignore',
    })
    const until = performance.now() + 10_000
    const answers = () =>
      use((redis) => redis.ping()).then(
        () => true,
        () => false,
      )
    while (!(await answers())) {
      if (performance.now() > until) throw new Error('redis-server did not start')
      await Bun.sleep(20)
    }
  }
  const kill = async () => {
    child?.kill('SIGKILL')
    await child?.exited
  }
  await start()
  return {
    url: `redis://:${password}@127.0.0.1:${port}/0`,
    port,
    freeze: () => child?.kill('SIGSTOP'),
    thaw: () => child?.kill('SIGCONT'),
    kill,
    start,
    use,
    [Symbol.asyncDispose]: kill,
  }
}
