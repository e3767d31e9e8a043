import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { monitorCommands } from '#src/engines/redis/watch/monitor.ts'
import { fromBytes } from '#src/engines/redis/values.ts'
import { contract, databaseFailures, events, failures } from '#src/http/contract.ts'
import { DatabaseIdParams, wholeNumber } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { replyEvents } from '#src/http/stream.ts'
import { Encoding } from './schemas.ts'

const watch = contract({
  method: 'get',
  path: '/{databaseId}/monitor',
  operationId: 'RedisMonitorController_watch',
  tags: ['redis'],
  summary: 'Watch every command the server runs',
  description:
    "For admins: it shows other clients' keys and values, in every logical database. Of a cluster every primary is watched, and node says which ran a command. It costs the server about half its speed, so it ends by itself: first a ready event, then a command event each, last an end event with the reason, seconds, max or bytes.",
  access: 'admin',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      seconds: wholeNumber(1, 30, 10).openapi({ description: 'Ends after so long' }),
      max: wholeNumber(1, 10_000, 1_000).openapi({ description: 'Ends after so many commands' }),
      encoding: Encoding,
    }),
  },
  responses: {
    200: events('ready, then command { time, database, client, command: […], node? }, then end { reason }'),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR'),
  },
})

export const monitor = createRouter().openapi(watch, async (c) => {
  const { databaseId } = c.req.valid('param')
  const { encoding, ...bounds } = c.req.valid('query')
  c.env.databaseId = databaseId
  return replyEvents(c, redis, databaseId, async function* commands(session, call) {
    await using apart = await session.apart(undefined, call)
    for await (const seen of monitorCommands(apart, bounds, call)) {
      if (seen === null) yield { event: 'ready', data: bounds }
      else if (typeof seen === 'string') yield { event: 'end', data: { reason: seen } }
      else yield { event: 'command', data: { ...seen, command: seen.command.map((word) => fromBytes(word, encoding)) } }
    }
  })
})
