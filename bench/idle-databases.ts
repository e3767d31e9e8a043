import postgres from 'postgres'
import { createKeyring } from '#src/credentials/keyring.ts'
import { redis } from '#src/engines/redis/engine.ts'
import { parseTarget } from '#src/engines/target.ts'
import { sealTarget } from '#src/registry/sealed-columns.ts'
import type { Keys } from './server.ts'

const batch = 1_000

export interface IdleDatabases {
  readonly registryUrl: string
  readonly keys: Keys
  readonly count: number
  /** Of a Redis. */
  readonly connectionString: string
}

/** Writes databases into a registry, past the API but as the server does it, each sealed for its row; answers their ids. */
export async function insertDatabases(options: IdleDatabases): Promise<readonly string[]> {
  const { registryUrl, keys, count, connectionString } = options
  const target = parseTarget(redis, connectionString, {})
  const keyring = await createKeyring({ current: Buffer.from(keys.MULTI_DB_CRYPTO_KEY, 'base64url') })
  const sql = postgres(registryUrl, { max: 1, onnotice: () => undefined })
  const ids: string[] = []
  try {
    const [project] = await sql`select id from platform.projects where ref = 'default'`
    const projectId = String(project?.['id'])
    while (ids.length < count) {
      const rows = await Promise.all(
        Array.from({ length: Math.min(batch, count - ids.length) }, async (_, index) => {
          const id = crypto.randomUUID()
          const number = ids.length + index
          const place = { projectId, databaseId: id }
          const { columns } = await sealTarget(keyring, target, place)
          const description = `Idle database number ${number}`
          return { id, project_id: projectId, name: `idle-${number}`, type: 'redis', description, ...columns }
        }),
      )
      await sql`insert into platform.databases ${sql(rows)}`
      ids.push(...rows.map(({ id }) => id))
    }
    await sql`analyze platform.databases`
    return ids
  } finally {
    await sql.end()
  }
}
