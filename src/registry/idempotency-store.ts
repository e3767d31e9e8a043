import type { RegistryDatabase } from './registry-database.ts'

/** One use of a key: the request that came first with it. */
export interface Claimed {
  readonly scope: string
  readonly key: string
  /** When it was taken, as the registry says it: a request that was taken for dead holds an older one. */
  readonly since: string
}

/** What is known of a key: taken now, another body, still running, or the answer it got. */
export type Claim =
  | { readonly state: 'new'; readonly claimed: Claimed }
  | { readonly state: 'running' }
  | { readonly state: 'other-body' }
  | { readonly state: 'done'; readonly status: number; readonly answer: string | null }

/** An answer to keep: sealed by the key `kid`, or `null` where it is too large to keep. */
export interface KeptAnswer {
  readonly status: number
  readonly sealed: { readonly kid: string; readonly value: string } | null
}

/** `platform.idempotency_keys` in SQL. */
export interface IdempotencyStore {
  /** Takes the key for a request that begins now, or says what it was used for. One that began `staleMs` ago and never ended is taken over. */
  claim(scope: string, key: string, bodyHash: string, staleMs: number): Promise<Claim>
  /** Keeps the answer and counts its sealing, unless the key was taken over. */
  complete(claimed: Claimed, answer: KeptAnswer): Promise<void>
  /** Gives the key back: the request did nothing and may be repeated. */
  release(claimed: Claimed): Promise<void>
}

const keptHours = 24
const sweepEvery = 100

export function createIdempotencyStore(database: RegistryDatabase): IdempotencyStore {
  let claims = 0
  return {
    claim: (scope, key, bodyHash, staleMs) =>
      database.use(async (sql) => {
        if (claims++ % sweepEvery === 0) {
          await sql`delete from platform.idempotency_keys where created_at < now() - make_interval(hours => ${keptHours})`
        }
        const [taken] = await sql`
          insert into platform.idempotency_keys as kept (scope, key, body_hash) values (${scope}, ${key}, ${bodyHash})
          on conflict (scope, key) do update set body_hash = excluded.body_hash, status = null, answer = null, created_at = now()
          where kept.created_at < now() - make_interval(hours => ${keptHours})
            or (kept.status is null and kept.body_hash = excluded.body_hash
              and kept.created_at < now() - make_interval(secs => ${staleMs / 1000}))
          returning created_at::text as since`
        if (taken) return { state: 'new', claimed: { scope, key, since: String(taken['since']) } }
        const [row] =
          await sql`select body_hash, status, answer from platform.idempotency_keys where scope = ${scope} and key = ${key}`
        // Released between the two statements: to the caller it is still running.
        if (row === undefined) return { state: 'running' }
        if (row['body_hash'] !== bodyHash) return { state: 'other-body' }
        if (row['status'] === null) return { state: 'running' }
        const answer = row['answer'] === null ? null : String(row['answer'])
        return { state: 'done', status: Number(row['status']), answer }
      }),
    // A driver's Date would cut the time to milliseconds, so it travels as text.
    complete: ({ scope, key, since }, { status, sealed }) =>
      database.use(async (sql) => {
        await sql`
          with counted as (
            update platform.key_canaries set seals = seals + 1 where kid = ${sealed?.kid ?? ''}
          )
          update platform.idempotency_keys set status = ${status}, answer = ${sealed?.value ?? null}
          where scope = ${scope} and key = ${key} and created_at::text = ${since} and status is null`
      }),
    release: ({ scope, key, since }) =>
      database.use(async (sql) => {
        await sql`
          delete from platform.idempotency_keys
          where scope = ${scope} and key = ${key} and created_at::text = ${since} and status is null`
      }),
  }
}
