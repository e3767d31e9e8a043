import { z } from '@hono/zod-openapi'
import { body, contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { isJson } from './key-schemas.ts'
import { DatabaseNumber, Encoding, KeyName, RedisValue } from './schemas.ts'
import { writeCodes } from './set-schemas.ts'

const path = '/{databaseId}/json'
const params = DatabaseIdParams
const query = z.object({ db: DatabaseNumber })
const tags = ['redis']
const textOfJson = z
  .string()
  .refine(isJson, { error: 'must be the text of a JSON value' })
  .openapi({ description: 'The text of a JSON value, which is stored as it says: no number is rounded on the way' })
const jsonPath = z.string().min(1).max(1000)
const place = jsonPath.default('$').openapi({ description: 'JSONPath of RedisJSON', default: '$' })

export const getJson = contract({
  method: 'get',
  path,
  operationId: 'RedisJsonController_get',
  tags,
  summary: 'Read a JSON document',
  description:
    'The whole document, or with a path that begins with $ a list of what it matches; as text, so that no number is rounded. Needs the module RedisJSON.',
  access: 'read',
  operation: 'read',
  request: {
    params,
    query: z.object({
      key: KeyName,
      path: jsonPath
        .optional()
        .openapi({ description: 'JSONPath; the whole document unless given', examples: ['$.name'] }),
      encoding: Encoding,
      db: DatabaseNumber,
    }),
  },
  responses: {
    200: json(
      z.object({ key: RedisValue, json: z.string(), ttl_ms: z.number().nullable() }).openapi('RedisJson', {
        example: { key: 'user:1', json: '{"name":"Ada","id":9007199254740993}', ttl_ms: null },
      }),
      'The document as text',
    ),
    ...failures(...databaseFailures, 'NOT_FOUND', 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const setJson = contract({
  method: 'put',
  path,
  operationId: 'RedisJsonController_set',
  tags,
  summary: 'Set a JSON document, or a part of one',
  description:
    'At a path, the whole document unless given. nx writes only what is new, xx only what is there. Needs the module RedisJSON.',
  access: 'write',
  operation: 'write',
  request: {
    params,
    query,
    body: body(
      z
        .strictObject({
          key: RedisValue,
          path: place,
          json: textOfJson,
          nx: z.boolean().optional(),
          xx: z.boolean().optional(),
        })
        .refine((value) => !(value.nx && value.xx), { error: 'nx and xx exclude each other', path: ['nx'] })
        .openapi('SetRedisJson', { example: { key: 'user:1', json: '{"name":"Ada"}' } }),
    ),
  },
  responses: {
    200: json(
      z
        .object({ key: RedisValue, written: z.boolean().openapi({ description: 'false when nx or xx forbade it' }) })
        .openapi('RedisJsonWritten', { example: { key: 'user:1', written: true } }),
      'Whether it was written',
    ),
    ...failures(...writeCodes),
  },
})

export const mergeJson = contract({
  method: 'patch',
  path,
  operationId: 'RedisJsonController_merge',
  tags,
  summary: 'Merge into a JSON document',
  description: 'As RFC 7396 has it: null removes a member, a list is replaced. Needs the module RedisJSON 2.6.',
  access: 'write',
  operation: 'write',
  request: {
    params,
    query,
    body: body(
      z
        .strictObject({ key: RedisValue, path: place, json: textOfJson })
        .openapi('MergeRedisJson', { example: { key: 'user:1', json: '{"email":null}' } }),
    ),
  },
  responses: {
    200: json(
      z.object({ key: RedisValue, written: z.literal(true) }).openapi('RedisJsonMerged', {
        example: { key: 'user:1', written: true },
      }),
      'Merged',
    ),
    ...failures(...writeCodes),
  },
})

export const removeJson = contract({
  method: 'delete',
  path,
  operationId: 'RedisJsonController_delete',
  tags,
  summary: 'Delete a JSON document, or a part of one',
  description: 'At a path, the whole document unless given. Needs the module RedisJSON.',
  access: 'write',
  operation: 'delete',
  request: {
    params,
    query: z.object({ key: KeyName, path: place, encoding: Encoding, db: DatabaseNumber }),
  },
  responses: {
    200: json(
      z
        .object({ key: RedisValue, deleted: z.number().openapi({ description: 'Places that the path matched' }) })
        .openapi('RedisJsonDeleted', { example: { key: 'user:1', deleted: 1 } }),
      'How much was deleted',
    ),
    ...failures(...databaseFailures, 'NOT_FOUND', 'DB_QUERY_ERROR', 'DB_READ_ONLY', 'DB_NOT_PRIMARY'),
  },
})
