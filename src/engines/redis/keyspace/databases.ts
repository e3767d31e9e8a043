import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Lanes, Outcome } from '../commands.ts'
import { notRedis, replyCode } from '../errors.ts'
import { sizeIn, sizeOf } from './permitted.ts'
import { goOn } from './turns.ts'
import { parseInfo } from '../values.ts'

/** A logical database as INFO tells of it; `null` is what the server does not say. */
export interface LogicalDatabase {
  readonly db: number
  readonly keys: number | null
  readonly expires: number | null
  /** The server's own estimate. */
  readonly avg_ttl_ms: number | null
}

/** A cluster has one database, of which no node counts all keys that expire. */
export interface Listed {
  readonly clustered: boolean
  readonly data: readonly LogicalDatabase[]
}

/** The server's logical databases. */
export interface Databases {
  /** Those that hold keys; `null` for a user without the right to INFO. */
  list(call: Call): Promise<Listed | null>
  /** How many the server has; `null` for a user without the right to CONFIG GET. */
  count(call: Call): Promise<number | null>
  /** Keys in the database this work is in; `null` for a user without the right to DBSIZE. */
  size(call: Call): Promise<number | null>
}

export function createDatabases({ shared }: Lanes): Databases {
  return {
    async list(call) {
      const batch = [['info', 'keyspace'], ['info', 'cluster'], ['dbsize']] as const
      const [keys, own, size] = await shared.each(call, 'reads', ...batch)
      const [keyspace, cluster] = [unlessRefused(keys), unlessRefused(own)]
      if (keyspace === null || cluster === null) return null
      if (!(keyspace instanceof Buffer) || !(cluster instanceof Buffer)) throw notRedis()
      // A node's INFO counts its own keys alone.
      if (parseInfo(cluster.toString('utf8'))['cluster']?.['cluster_enabled'] === '1')
        return { clustered: true, data: [{ db: 0, keys: sizeIn(size), expires: null, avg_ttl_ms: null }] }
      return { clustered: false, data: keyspaceOf(parseInfo(keyspace.toString('utf8'))['keyspace'] ?? {}) }
    },
    async count(call) {
      const [outcome] = await shared.each(call, 'reads', ['config', 'get', 'databases'])
      const reply = unlessRefused(outcome)
      const [, value] = Array.isArray(reply) ? (reply as readonly unknown[]) : []
      return value === undefined ? null : wholeNumber(String(value))
    },
    size: (call) => sizeOf(shared, call),
  }
}

/** `null` where the user's ACL or the provider of the server does not allow it. */
function unlessRefused(outcome: Outcome | undefined): Reply {
  if (outcome === undefined) throw notRedis()
  if ('reply' in outcome) return outcome.reply
  if (['NOPERM', 'ERR'].includes(replyCode(outcome.error.cause) ?? '')) return null
  throw outcome.error
}

/** Reads `db0: keys=1,expires=0,avg_ttl=0`; an average of 0 is none. Lines of other shapes are left out. */
export function keyspaceOf(lines: Readonly<Record<string, string>>): readonly LogicalDatabase[] {
  return Object.entries(lines).flatMap(([name, line]) => {
    const number = /^db(\d{1,9})$/.exec(name)?.[1]
    const fields = new Map(line.split(',').map((field) => field.split('=', 2) as [string, string | undefined]))
    const keys = wholeNumber(fields.get('keys'))
    if (number === undefined || keys === null) return []
    const average = wholeNumber(fields.get('avg_ttl'))
    return [
      {
        db: Number(number),
        keys,
        expires: wholeNumber(fields.get('expires')),
        avg_ttl_ms: average === 0 ? null : average,
      },
    ]
  })
}

function wholeNumber(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null
}

const mostAsked = 64

/**
 * The same by the DBSIZE of one database after the other, for a user without the right to INFO; ends where the server has no more, or the user
 * may not SELECT the next. Where the sizes are not known, all are told.
 */
export async function sizesOf(
  usable: number,
  ask: (db: number) => Promise<number | null>,
  call: Call,
): Promise<{ readonly data: readonly LogicalDatabase[]; readonly complete: boolean }> {
  const data: LogicalDatabase[] = []
  for (let db = 0; db < Math.min(usable, mostAsked); db++) {
    goOn(call)
    const keys = await unlessAbsent(ask(db))
    if (keys === 'absent') return { data, complete: true }
    if (keys === 'refused') return { data, complete: false }
    if (keys !== 0) data.push({ db, keys, expires: null, avg_ttl_ms: null })
  }
  return { data, complete: usable <= mostAsked }
}

async function unlessAbsent<T>(asked: Promise<T>): Promise<T | 'absent' | 'refused'> {
  try {
    return await asked
  } catch (error) {
    const code = error instanceof ApiError ? replyCode(error.cause) : undefined
    // SELECT has no code of its own for a number that the server does not have.
    if (code === 'ERR') return 'absent'
    if (code === 'NOPERM') return 'refused'
    throw error
  }
}
