import { z } from '@hono/zod-openapi'
import type { Call } from '#src/engines/engine.ts'
import type { Everywhere } from '#src/engines/redis/server/in-turn.ts'
import type { RedisSession } from '#src/engines/redis/session.ts'

/** Which primary something is of. */
export const NodeName = z.string().optional().openapi({ description: 'host:port of the primary; on a cluster alone' })

/** What is missing in an answer that is of all primaries. */
export const Unreachable = z
  .array(z.object({ node: z.string(), code: z.string() }))
  .optional()
  .openapi({ description: 'Primaries that could not be asked, with the code of the error; absent where there is none' })

/** Asks every server behind a database that can be reached; the answer says which could not be. */
export function askServers<T extends object>(
  session: RedisSession,
  call: Call,
  ask: (all: Everywhere) => Promise<T>,
): Promise<T & { unreachable?: { node: string; code: string }[] }> {
  return session.everywhere(call, async (all) => {
    const unreachable = all.missing.map(({ node, error: { code } }) => ({ node, code }))
    const answer = await ask(all)
    return unreachable.length === 0 ? answer : { ...answer, unreachable }
  })
}
