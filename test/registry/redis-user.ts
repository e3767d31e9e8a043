import { Redis } from 'ioredis'
import { newName } from './registries.ts'
import { testPassword } from '#test/support/credentials.ts'
import type { RedisStore } from '#test/support/stores.ts'

/** An ACL user of a test's own, by which its sockets are told from all others'. */
export interface RedisUser extends AsyncDisposable {
  readonly admin: Redis
  /** The connection string of one of the server's 16 databases. */
  url(database: number): string
  /** The numbers of the databases this user has a socket in. */
  databases(): Promise<readonly number[]>
}

export async function createRedisUser({ host, port, password }: RedisStore): Promise<RedisUser> {
  const admin = new Redis({ host, port, password })
  const [name, secret] = [newName('user'), testPassword()]
  await admin.call('ACL', 'SETUSER', name, 'on', `>${secret}`, '~*', '&*', '+@all')
  return {
    admin,
    url: (database) => `redis://${name}:${secret}@${host}:${port}/${database}`,
    async databases() {
      const lines = String(await admin.call('CLIENT', 'LIST')).split('\n')
      return lines.filter((line) => line.includes(` user=${name} `)).map((line) => Number(/ db=(\d+)/.exec(line)?.[1]))
    },
    async [Symbol.asyncDispose]() {
      await admin.call('ACL', 'DELUSER', name)
      admin.disconnect()
    },
  }
}
