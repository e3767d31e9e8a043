import type { Keyring } from '../credentials/keyring.ts'
import type { TargetDescription } from '../engines/target.ts'
import { countSeal } from './key-canaries.ts'
import type { RegistryDatabase } from './registry-database.ts'
import { sealTarget } from './sealed-columns.ts'

const projectRef = 'default'

/**
 * Registers the operator's own store (`REDIS_URL`, `MONGODB_URL`) in project `default`, once for this registry: not again after somebody
 * removed it, and not where the name is taken. It is not connected first: a store that is down must not keep the server from starting.
 * Answers whether it was registered now.
 */
export function registerOnce(
  database: RegistryDatabase,
  keyring: Keyring,
  name: string,
  target: TargetDescription,
  maxSealsPerKey: number,
): Promise<boolean> {
  return database.change((connection) =>
    connection.begin(async (sql) => {
      const [project] = await sql`select id from platform.projects where ref = ${projectRef}`
      if (project === undefined) return false
      const first =
        await sql`insert into platform.standing_databases (name) values (${name}) on conflict do nothing returning 1`
      if (first.length === 0) return false
      const projectId = String(project['id'])
      const databaseId = crypto.randomUUID()
      const { kid, columns } = await sealTarget(keyring, target, { projectId, databaseId })
      await countSeal(sql, kid, maxSealsPerKey)
      const row = { id: databaseId, project_id: projectId, name, type: target.kind, ...columns }
      const { count } = await sql`insert into platform.databases ${sql(row)} on conflict do nothing`
      return count > 0
    }),
  )
}
