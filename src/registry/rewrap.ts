import type { Keyring } from '../credentials/keyring.ts'
import { isLegacy, openLegacy } from '../credentials/legacy.ts'
import { isSealed, parseSealed } from '../credentials/sealed.ts'
import type { Engine } from '../engines/engine.ts'
import { parseTarget } from '../engines/target.ts'
import { ApiError, codeOf } from '../errors.ts'
import type { DatabaseRow } from './database.ts'
import { openConnectionString, sealTarget } from './sealed-columns.ts'
import type { DatabaseStore } from './store.ts'

export interface RewrapOptions {
  readonly store: Pick<DatabaseStore, 'get' | 'listAfter' | 'reseal'>
  readonly keyring: Keyring
  readonly engines: Readonly<Record<string, Engine>>
  /** `PG_META_CRYPTO_KEY`: opens values crypto-js sealed. */
  readonly legacyPassphrase?: string | undefined
  /** Rows read at once. */
  readonly batch: number
  readonly dryRun: boolean
  /** Told of each row that could not be done: its id and a sentence that holds no secret. */
  readonly report?: (id: string, problem: string) => void
}

/** `rewrapped` counts what was, or in a dry run would be, sealed anew; `failed` is what remains. */
export interface RewrapCounts {
  readonly rewrapped: number
  readonly skipped: number
  readonly failed: number
}

/**
 * Seals every row under the current key of its engine: rows under previous keys, crypto-js values, and plain text left by other programs.
 * One row at a time by compare-and-set on the stored text, so it may run beside a serving server, be killed, and run again. Throws
 * `REGISTRY_UNAVAILABLE` when the registry is lost on the way; what was done until then stays done.
 */
export async function rewrap(options: RewrapOptions): Promise<RewrapCounts> {
  const counts = { rewrapped: 0, skipped: 0, failed: 0 }
  for (let after: string | undefined; ;) {
    const rows = await options.store.listAfter(after, options.batch)
    for (const row of rows) counts[await rewrapRow(options, row)] += 1
    after = rows.at(-1)?.id
    if (after === undefined) return counts
  }
}

async function rewrapRow(options: RewrapOptions, listed: DatabaseRow): Promise<keyof RewrapCounts> {
  try {
    // A lost race is another's write, which may be under a previous key again: the row is looked at anew.
    for (let row: DatabaseRow | undefined = listed; row !== undefined; row = await options.store.get(row.id)) {
      const outcome = await attempt(options, row)
      if (outcome !== undefined) return outcome
    }
    return 'skipped'
  } catch (error) {
    if (error instanceof ApiError && error.code === 'REGISTRY_UNAVAILABLE') throw error
    options.report?.(listed.id, reasonOf(error))
    return 'failed'
  }
}

/** `undefined` when the row was changed or removed before the new value could be stored. */
async function attempt(options: RewrapOptions, row: DatabaseRow): Promise<keyof RewrapCounts | undefined> {
  const { keyring, store, dryRun } = options
  // Studio's own table lets it be null; the place of a sealed value can't be.
  if (!row.project_id) throw new ApiError('NOT_FOUND', 'The row belongs to no project: give it one, or remove it.')
  const text = await openStored(options, row)
  if (parseSealed(row.connection_string)?.kid === keyring.current(row.type).kid) return 'skipped'
  const engine = Object.hasOwn(options.engines, row.type) ? options.engines[row.type] : undefined
  if (engine === undefined) throw new ApiError('DB_UNSUPPORTED', 'This server has no engine for the type of this row.')
  const place = { projectId: row.project_id, databaseId: row.id }
  const { kid, columns } = await sealTarget(keyring, parseTarget(engine, text, row.config), place)
  if (dryRun) return 'rewrapped'
  return (await store.reseal(row, kid, columns)) ? 'rewrapped' : undefined
}

/** The connection string in clear, whoever stored it. */
async function openStored({ keyring, legacyPassphrase }: RewrapOptions, row: DatabaseRow): Promise<string> {
  const stored = row.connection_string
  if (isSealed(stored)) return openConnectionString(keyring, row)
  if (!isLegacy(stored)) return stored.trim()
  if (legacyPassphrase === undefined) throw unreadable('It was sealed by crypto-js: set PG_META_CRYPTO_KEY to open it.')
  const opened = openLegacy(legacyPassphrase, stored)
  if (opened === undefined) throw unreadable('It was sealed by crypto-js, and PG_META_CRYPTO_KEY does not open it.')
  return opened.trim()
}

function unreadable(message: string): ApiError {
  return new ApiError('DB_CREDENTIALS_UNREADABLE', message)
}

// Only sentences of our own are printed; another's could quote the row.
function reasonOf(error: unknown): string {
  if (error instanceof ApiError) return error.message
  return `It could not be sealed anew (${codeOf(error) ?? 'unknown error'}).`
}
