import type { Keyring } from '../credentials/keyring.ts'
import { openValue, type Place, sealValue } from '../credentials/sealed.ts'
import { formatTarget, maskTarget, type TargetDescription } from '../engines/target.ts'
import type { DatabaseRow } from './database.ts'

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

type RowPlace = Omit<Place, 'field'>

// Sealing and opening have to name the same place, or nothing opens.
const placeOf = (row: RowPlace): Place => ({ ...row, field: 'connection_string' })

/** Opens a row's sealed connection string. `DB_CREDENTIALS_UNREADABLE` when no key of the ring fits. */
export function openConnectionString(keyring: Keyring, row: DatabaseRow): Promise<string> {
  return openValue(keyring, placeOf({ projectId: row.project_id, databaseId: row.id }), row.connection_string)
}

/** Seals a target for its row, under the key of its engine. */
export async function sealTarget(keyring: Keyring, target: TargetDescription, row: RowPlace): Promise<Sealing> {
  const key = keyring.current(target.kind)
  return {
    kid: key.kid,
    columns: {
      connection_string: await sealValue(key, placeOf(row), formatTarget(target)),
      masked_connection_string: maskTarget(target),
      host: target.host,
      port: target.port,
      database_name: target.database === '' ? null : target.database,
      username: target.user,
    },
  }
}
