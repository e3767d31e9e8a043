import type { Keyring } from '../credentials/keyring.ts'
import { createNetwork, type Resolve } from '../engines/dial.ts'
import type { EgressPolicy } from '../engines/egress.ts'
import type { Engine, Limits } from '../engines/engine.ts'
import type { SrvResolver } from '../engines/srv.ts'
import { parseTarget, type Target, type TargetDescription } from '../engines/target.ts'
import { ApiError } from '../errors.ts'
import type { DatabaseRow } from './database.ts'
import { openConnectionString } from './sealed-columns.ts'

export interface TargetsOptions {
  readonly keyring: Keyring
  readonly policy: EgressPolicy
  readonly limitsOf: (kind: string) => Limits
  readonly resolve?: Resolve | undefined
  readonly srv?: SrvResolver | undefined
}

/** From a row to something that can be dialled. */
export interface Targets {
  /** Opens a row's sealed connection string. `DB_CREDENTIALS_UNREADABLE` when no key of the ring fits. */
  describe(engine: Engine, row: DatabaseRow): Promise<TargetDescription>
  /** Binds a description to this server's dial policy. */
  bind(description: TargetDescription): Target
}

export function createTargets({ keyring, policy, limitsOf, resolve, srv }: TargetsOptions): Targets {
  return {
    async describe(engine, row) {
      const connectionString = await openConnectionString(keyring, row)
      try {
        return parseTarget(engine, connectionString, row.config)
      } catch (cause) {
        // Somebody's SQL, or rules that were tightened since: it is the row that is wrong, not this request.
        throw new ApiError('DB_CREDENTIALS_UNREADABLE', 'The stored connection can not be used. Store it again.', {
          cause,
        })
      }
    },
    bind(description) {
      const caCertificate = description.config['caCertificate']
      const network = createNetwork({
        host: description.host,
        port: description.port,
        tls: description.tls,
        policy,
        resolve,
        srv,
        connectTimeoutMs: limitsOf(description.kind).connectTimeoutMs,
        caCertificate: typeof caCertificate === 'string' ? caCertificate : undefined,
      })
      return { ...description, ...network }
    },
  }
}
