import type { ISql } from 'postgres'
import type { Keyring } from '../credentials/keyring.ts'
import { opensCanary, sealCanary } from '../credentials/sealed.ts'
import { ApiError } from '../errors.ts'
import type { RegistryDatabase } from './registry-database.ts'

/**
 * Proves that this key ring belongs to this registry: where canary rows exist, one key of the ring must open one of them. Then the
 * rows of the current keys are made. Answers `false` when no key fits, and changes nothing.
 */
export function checkCanaries(
  database: RegistryDatabase,
  ring: Keyring,
  engineKinds: readonly string[],
): Promise<boolean> {
  return database.use((connection) =>
    connection.begin(async (sql) => {
      // Two servers with different keys must not both find the registry empty.
      await sql`lock table platform.key_canaries in share row exclusive mode`
      const rows = await sql`select kid, sealed from platform.key_canaries`
      if (rows.length > 0) {
        const opened = await Promise.all(
          rows.map(async (row) => {
            const key = ring.byKid(String(row['kid']))
            return key !== undefined && (await opensCanary(key, String(row['sealed'])))
          }),
        )
        if (!opened.includes(true)) return false
      }
      for (const key of new Set([ring.current(), ...engineKinds.map((kind) => ring.current(kind))])) {
        await sql`
        insert into platform.key_canaries (kid, sealed) values (${key.kid}, ${await sealCanary(key)}) on conflict (kid) do nothing`
      }
      return true
    }),
  )
}

/**
 * Counts one sealing under a key, in the transaction that keeps the value. NIST SP 800-38D, 8.3: at most 2^32 encryptions with random
 * nonces under one key; above `max` it throws `FEATURE_DISABLED`.
 */
export async function countSeal(tx: ISql, kid: string, max: number): Promise<void> {
  const [row] = await tx`update platform.key_canaries set seals = seals + 1 where kid = ${kid} returning seals::text`
  if (row === undefined || Number(row['seals']) <= max) return
  throw new ApiError(
    'FEATURE_DISABLED',
    'The sealing key has been used as often as is safe, so no credential is taken. The operator has to rotate it.',
  )
}
