import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import { findMongod } from '#test/support/mongod-binary.ts'
import { freePorts } from '#test/support/ports.ts'

/** A mongod of one test's own, to kill and start again on the same port. */
export interface OwnMongod extends AsyncDisposable {
  readonly url: string
  kill(): Promise<void>
  start(): Promise<void>
}

export async function startOwnMongod(): Promise<OwnMongod> {
  const command = await findMongod()
  if (command === null) throw new Error('mongod is missing')
  const [port] = await freePorts()
  const folder = await mkdtemp(join(tmpdir(), 'bun-api-mongod-'))
  const url = `mongodb://127.0.0.1:${port}/app`
  let child: Bun.Subprocess | undefined
  const start = async () => {
    const flags = ['--bind_ip', '127.0.0.1', '--port', `${port}`, '--dbpath', folder, '--nounixsocket', '--quiet']
    child = Bun.spawn([command, ...flags, '--wiredTigerCacheSizeGB=0.25'], { stdout: 'ignore', stderr: 'ignore' })
    await using client = new MongoClient(url, { serverSelectionTimeoutMS: 15_000 })
    await client.db('admin').command({ ping: 1 })
  }
  const kill = async () => {
    child?.kill('SIGKILL')
    await child?.exited
  }
  await start()
  return {
    url,
    kill,
    start,
    async [Symbol.asyncDispose]() {
      await kill()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
