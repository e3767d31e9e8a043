import { z } from '@hono/zod-openapi'
import { redis } from '#src/engines/redis/engine.ts'
import { type Message, subscribe } from '#src/engines/redis/watch/pubsub.ts'
import { keyspaceEvents } from '#src/engines/redis/watch/pubsub-keyspace.ts'
import { type Encoding as EncodingName, fromBytes, toArgument } from '#src/engines/redis/values.ts'
import { invalid } from '#src/errors.ts'
import { body, contract, databaseFailures, events, failures, json } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { reply } from '#src/http/reply.ts'
import { createRouter } from '#src/http/router.ts'
import { replyEvents } from '#src/http/stream.ts'
import { DatabaseNumber, Encoding, keyOf, RedisValue } from './schemas.ts'

const maxSubscriptions = 100
const maxNameBytes = 256

/** Names joined by commas; each base64 with `encoding=base64`, which is how one with a comma in it is given. */
const names = (description: string) =>
  z
    .string()
    .transform((text) => text.split(',').filter((name) => name !== ''))
    .pipe(
      z
        .array(
          z.string().refine((name) => Buffer.byteLength(name) <= maxNameBytes, {
            error: `must be at most ${maxNameBytes} bytes`,
          }),
        )
        .max(maxSubscriptions),
    )
    .optional()
    .openapi({ type: 'string', description: `${description}, joined by commas; at most ${maxSubscriptions}` })

const listen = contract({
  method: 'get',
  path: '/{databaseId}/pubsub',
  operationId: 'RedisPubsubController_listen',
  tags: ['redis'],
  summary: 'Listen to channels',
  description:
    'First a ready event with what is subscribed, then a message event each. What comes while nobody listens is lost; where more comes than is read, the stream ends with an error event that says so.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      channels: names('Channels').openapi({ examples: ['news'] }),
      patterns: names('Globs of channels').openapi({ examples: ['news.*'] }),
      encoding: Encoding,
    }),
  },
  responses: {
    200: events('ready { channels, patterns }, then message { channel, pattern?, message }'),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR'),
  },
})

const publish = contract({
  method: 'post',
  path: '/{databaseId}/pubsub',
  operationId: 'RedisPubsubController_publish',
  tags: ['redis'],
  summary: 'Publish a message',
  description: 'To whoever listens now; channels are the same in every logical database.',
  access: 'write',
  operation: 'write',
  request: {
    params: DatabaseIdParams,
    body: body(
      z
        .strictObject({ channel: RedisValue, message: RedisValue })
        .openapi('PublishRedisMessage', { example: { channel: 'news', message: 'hello' } }),
    ),
  },
  responses: {
    200: json(
      z
        .object({ receivers: z.number().openapi({ description: 'Clients it reached; of a cluster, on one node' }) })
        .openapi('RedisPublished', { example: { receivers: 1 } }),
      'How many clients it reached',
    ),
    ...failures(
      ...databaseFailures,
      'DB_QUERY_ERROR',
      'DB_READ_ONLY',
      'DB_NOT_PRIMARY',
      'PAYLOAD_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
    ),
  },
})

const watchKeys = contract({
  method: 'get',
  path: '/{databaseId}/keyspace-events',
  operationId: 'RedisPubsubController_watchKeys',
  tags: ['redis'],
  summary: 'Follow what happens to keys',
  description:
    'First a ready event, then a key event each. The server has to publish them: 400 DB_UNSUPPORTED says what to set in notify-keyspace-events, which is never set from here. Of a cluster every primary is listened to, and the stream ends with an error when they are others. What happens while nobody listens is lost.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({
      pattern: z
        .string()
        .min(1)
        .refine((value) => Buffer.byteLength(value) <= maxNameBytes, {
          error: `must be at most ${maxNameBytes} bytes`,
        })
        .optional()
        .openapi({ description: 'Glob of keys, at most 256 bytes; needs the flag K', examples: ['session:*'] }),
      events: z
        .string()
        .regex(/^[a-z_-]{1,40}(,[a-z_-]{1,40}){0,49}$/, { error: 'must be names of events joined by commas' })
        .optional()
        .openapi({ description: 'Only these events, joined by commas', examples: ['set,del,expired'] }),
      encoding: Encoding,
      db: DatabaseNumber,
    }),
  },
  responses: {
    200: events('ready { database }, then key { key, event }'),
    ...failures(...databaseFailures, 'DB_QUERY_ERROR'),
  },
})

export const pubsub = createRouter()
  .openapi(listen, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { channels = [], patterns = [], encoding } = c.req.valid('query')
    if (channels.length + patterns.length === 0) throw invalid('channels', 'or patterns must name something')
    c.env.databaseId = databaseId
    const subscriptions = {
      channels: channels.map((name) => toArgument(nameOf('channels', name, encoding))),
      patterns: patterns.map((name) => toArgument(nameOf('patterns', name, encoding))),
    }
    return replyEvents(c, redis, databaseId, async function* messages(session, call) {
      await using watcher = await session.watch(undefined, call)
      for await (const message of subscribe(watcher, subscriptions, call))
        yield message === null
          ? { event: 'ready', data: shown(subscriptions, encoding) }
          : { event: 'message', data: messageOf(message, encoding) }
    })
  })
  .openapi(publish, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { channel, message } = c.req.valid('json')
    c.env.databaseId = databaseId
    const { call } = c.env
    using session = await c.env.deps.open(redis, databaseId, call)
    return reply(c, publish, 200, { receivers: await session.publishing.publish(channel, message, call) })
  })
  .openapi(watchKeys, async (c) => {
    const { databaseId } = c.req.valid('param')
    const { pattern, events: wanted, encoding, db } = c.req.valid('query')
    c.env.databaseId = databaseId
    const request = { pattern, events: new Set(wanted?.split(',')) }
    return replyEvents(c, redis, databaseId, async function* changes(session, call) {
      await using apart = await session.apart(db, call)
      for await (const seen of keyspaceEvents(apart, request, call))
        yield seen === null
          ? { event: 'ready', data: { database: apart.database } }
          : { event: 'key', data: { key: fromBytes(seen.key, encoding), event: seen.event } }
    })
  })

function nameOf(field: string, text: string, encoding: EncodingName) {
  try {
    return keyOf(text, encoding)
  } catch {
    throw invalid(field, 'must be base64 with encoding=base64')
  }
}

function shown(
  subscriptions: { readonly channels: readonly (string | Buffer)[]; readonly patterns: readonly (string | Buffer)[] },
  encoding: EncodingName,
) {
  const show = (given: readonly (string | Buffer)[]) => given.map((name) => fromBytes(Buffer.from(name), encoding))
  return { channels: show(subscriptions.channels), patterns: show(subscriptions.patterns) }
}

function messageOf({ channel, pattern, message }: Message, encoding: EncodingName) {
  return {
    channel: fromBytes(channel, encoding),
    ...(pattern === undefined ? {} : { pattern: fromBytes(pattern, encoding) }),
    message: fromBytes(message, encoding),
  }
}
