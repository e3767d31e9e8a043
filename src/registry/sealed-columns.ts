import type { Keyring } from '../credentials/keyring.ts'
import { sealValue } from '../credentials/sealed.ts'
import { formatTarget, maskTarget, type TargetDescription } from '../engines/target.ts'

/** What `platform.databases` keeps of a target: its connection string sealed, and the parts that are no secret. */
export interface SealedColumns {
  readonly connection_string: string
  readonly masked_connection_string: string
  readonly host: string
  readonly port: number
  readonly database_name: string | null
  readonly username: string | null
}

export interface Sealing {
  /** The key that sealed, to be counted. */
  readonly kid: string
  readonly columns: SealedColumns
}

/** Seals a target for its row, under the key of its engine. */
export async function sealTarget(
  keyring: Keyring,
  target: TargetDescription,
  row: { readonly projectId: string; readonly databaseId: string },
): Promise<Sealing> {
  const key = keyring.current(target.kind)
  return {
    kid: key.kid,
    columns: {
      connection_string: await sealValue(key, { ...row, field: 'connection_string' }, formatTarget(target)),
      masked_connection_string: maskTarget(target),
      host: target.host,
      port: target.port,
      database_name: target.database === '' ? null : target.database,
      username: target.user,
    },
  }
}
