import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { roleAt } from '#src/access/authorize.ts'
import type { Caller } from '#src/engines/redis/run/command-policy.ts'
import { redis } from '#src/engines/redis/engine.ts'
import type { Outcome } from '#src/engines/redis/commands.ts'
import { type Result, resultsOf } from '#src/engines/redis/run/reply-json.ts'
import { type Allowed, allowCommands } from '#src/engines/redis/run/run.ts'
import { commandsKnown } from '#src/engines/redis/run/while-busy.ts'
import type { RedisStore } from '#src/engines/redis/store.ts'
import { type Encoding as EncodingName, toArgument } from '#src/engines/redis/values.ts'
import { body, contract, failures, json } from '#src/http/contract.ts'
import type { Env } from '#src/http/env.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import type { RequestState } from '#src/http/request-state.ts'
import { databaseNotFound } from '#src/registry/connections.ts'
import { DatabaseNumber, Encoding, RedisValue } from './schemas.ts'
import { writeCodes } from './set-schemas.ts'

const maxArguments = 1_024
const maxCommands = 1_000
const maxWatched = 100

const Command = z
  .array(z.union([RedisValue, z.int()], { error: 'must be text, { "base64": "…" } or a safe integer' }))
  .min(1)
  .max(maxArguments)
  .openapi({ description: 'The name, then its arguments; longer integers as text', example: ['GET', 'greeting'] })

const Reply = z.unknown().openapi({
  description:
    'Strings as RedisValue, integers as numbers, those beyond 2^53 as { "integer": "…" }, nothing as null, errors within as { "error": … }',
  anyOf: [
    { type: ['string', 'integer', 'null'] },
    { type: 'array', items: {} },
    { type: 'object', additionalProperties: {} },
  ],
})

// First the error: an unknown result may be left out.
const Results = z.object({
  results: z.array(
    z.union([
      z.object({ error: z.object({ code: z.string(), message: z.string(), details: z.unknown().optional() }) }),
      z.object({ result: Reply }),
    ]),
  ),
})

const codes = [...writeCodes, 'DB_CONFLICT'] as const

const request = { params: DatabaseIdParams, query: z.object({ encoding: Encoding, db: DatabaseNumber }) }

const command = contract({
  method: 'post',
  path: '/{databaseId}/command',
  operationId: 'RedisCommandsController_run',
  tags: ['redis'],
  summary: 'Run a command',
  description:
    "What the caller's role allows, by the server's own metadata: read for what reads, write for what writes, admin for what is costly or tells of others. What blocks, subscribes or changes the connection or the server runs for nobody, but for what ends a script and the settings of watching; scripts need admin, or write with config.allowScripts.",
  access: 'read',
  operation: 'read',
  request: {
    ...request,
    body: body(
      z.strictObject({ command: Command }).openapi('RedisCommand', { example: { command: ['GET', 'greeting'] } }),
    ),
  },
  responses: {
    200: json(z.object({ result: Reply }).openapi('RedisReply', { example: { result: 'hello' } }), 'The reply'),
    ...failures(...codes),
  },
})

const pipeline = contract({
  method: 'post',
  path: '/{databaseId}/pipeline',
  operationId: 'RedisCommandsController_pipeline',
  tags: ['redis'],
  summary: 'Run several commands in one go',
  description:
    'Each for itself, in order; one that fails stops no other. Where the caller may not run one of them, none runs, and details.index names it.',
  access: 'read',
  operation: 'read',
  request: {
    ...request,
    body: body(
      z.strictObject({ commands: z.array(Command).min(1).max(maxCommands) }).openapi('RedisPipeline', {
        example: {
          commands: [
            ['SET', 'greeting', 'hello'],
            ['STRLEN', 'greeting'],
          ],
        },
      }),
    ),
  },
  responses: {
    200: json(
      Results.openapi('RedisResults', { example: { results: [{ result: 'OK' }, { result: 5 }] } }),
      'A result or an error for each command',
    ),
    ...failures(...codes),
  },
})

const watched = z.union(
  [
    z.strictObject({ key: RedisValue, ifEqual: RedisValue }),
    z.strictObject({ key: RedisValue, ifAbsent: z.literal(true) }),
    z.strictObject({ key: RedisValue, ifType: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/) }),
  ],
  { error: 'must have a key and one of ifEqual, ifAbsent: true and ifType' },
)

const transaction = contract({
  method: 'post',
  path: '/{databaseId}/transaction',
  operationId: 'RedisCommandsController_transact',
  tags: ['redis'],
  summary: 'Run several commands as one',
  description:
    'By MULTI and EXEC, on a connection of its own. With watch only while each key is as it says (ifEqual: a string of this value), and stays so until the commands ran; else 409 DB_CONFLICT, and nothing ran. A command that Redis refuses before it runs is 400 with details.index, and nothing ran; one that fails while it runs has its error in its place, and the others ran.',
  access: 'read',
  operation: 'read',
  request: {
    ...request,
    body: body(
      z
        .strictObject({
          commands: z.array(Command).min(1).max(maxCommands),
          watch: z.array(watched).max(maxWatched).default([]),
        })
        .openapi('RedisTransaction', {
          example: {
            watch: [{ key: 'greeting', ifEqual: 'hello' }],
            commands: [
              ['SET', 'greeting', 'hello again'],
              ['STRLEN', 'greeting'],
            ],
          },
        }),
    ),
  },
  responses: {
    200: json(
      Results.openapi('RedisTransacted', { example: { results: [{ result: 'OK' }, { result: 11 }] } }),
      'A result or an error for each command',
    ),
    ...failures(...codes),
  },
})

export const commands = createRouter()
  .openapi(command, async (c) => {
    const { encoding, db } = c.req.valid('query')
    const given = c.req.valid('json').command
    const [result] = await run(
      c,
      c.req.valid('param').databaseId,
      { db, encoding },
      [given],
      async (store, allowed) => {
        const outcomes = await store.runner.run(allowed, c.env.call)
        for (const outcome of outcomes) if ('error' in outcome) throw outcome.error
        return outcomes
      },
    )
    return reply(c, command, 200, result as { readonly result: unknown })
  })
  .openapi(pipeline, async (c) => {
    const given = c.req.valid('json').commands
    const results = await run(c, c.req.valid('param').databaseId, c.req.valid('query'), given, (store, allowed) =>
      store.runner.run(allowed, c.env.call),
    )
    return reply(c, pipeline, 200, { results: [...results] })
  })
  .openapi(transaction, async (c) => {
    const { commands: given, watch } = c.req.valid('json')
    const results = await run(c, c.req.valid('param').databaseId, c.req.valid('query'), given, (store, allowed) =>
      store.transactions.transact(allowed, watch, c.env.call),
    )
    return reply(c, transaction, 200, { results: [...results] })
  })

interface Wanted {
  readonly db?: number | undefined
  readonly encoding: EncodingName
}

/** Runs what the caller's role on this database allows; what writes is charged and recorded as a write. */
async function run(
  c: Context<Env>,
  databaseId: string,
  { db, encoding }: Wanted,
  given: readonly z.infer<typeof Command>[],
  work: (store: RedisStore, allowed: Allowed) => Promise<readonly Outcome[]>,
): Promise<readonly Result[]> {
  c.env.databaseId = databaseId
  const { call } = c.env
  const caller = await callerOf(c.env, databaseId)
  const words = given.map((one) => one.map((word) => (typeof word === 'number' ? String(word) : toArgument(word))))
  // What writes is never asked again: its loss is not said to be one before an answer.
  return c.env.deps.read(redis, databaseId, call, async (session) => {
    const table = await commandsKnown((asking) => session.commandTable(asking), words, call)
    const allowed = allowCommands(table, words, caller)
    if (allowed.writes) await becomeWrite(c.env)
    const outcomes = await session.in(db, call, (store) => work(store, allowed))
    return resultsOf(outcomes, encoding, c.env.deps.config.MAX_RESPONSE_BYTES, allowed.writes)
  })
}

async function callerOf(state: RequestState, databaseId: string): Promise<Caller> {
  const { project_id: projectId, config } = await state.deps.registry.read(databaseId, state)
  const role = await roleAt(state, { projectId, databaseId })
  if (role === undefined) throw databaseNotFound()
  return {
    role,
    readOnly: state.readOnly || config['readOnly'] === true,
    allowScripts: config['allowScripts'] === true,
  }
}

async function becomeWrite(state: RequestState): Promise<void> {
  if (state.declaration?.operation === 'write') return
  state.declaration = { access: 'write', operation: 'write' }
  state.refuseStaleChange()
  state.rateHeaders = (await state.deps.limits.check(state.principal, state.declaration)) ?? state.rateHeaders
}
