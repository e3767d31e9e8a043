import { z } from '@hono/zod-openapi'
import { readCursor, signCursor } from '#src/credentials/signed.ts'
import { mongodb } from '#src/engines/mongodb/engine.ts'
import type { Position } from '#src/engines/mongodb/session.ts'
import { contract, databaseFailures, failures } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { ejson, modeOf, sendEjson } from './ejson.ts'
import { pageCursor, pageSize } from '../parameters.ts'
import { collectionName, databaseName } from './schemas.ts'

const page = ejson(
  z
    .object({
      data: z.array(z.unknown()),
      pagination: z.object({ next_cursor: z.string().nullable(), has_more: z.boolean() }),
    })
    .openapi('MongoDocumentPage', {
      example: {
        data: [{ _id: { $oid: '6560c5f0a1b2c3d4e5f60718' }, title: 'Buy milk', count: 3 }],
        pagination: { next_cursor: null, has_more: false },
      },
    }),
  'A page of documents',
)

const list = contract({
  method: 'get',
  path: '/{databaseId}/documents',
  operationId: 'MongoDocumentsController_list',
  tags: ['mongodb'],
  summary: 'Page through documents',
  description:
    'In order of _id, of any type; views and time series in their own order. Extended JSON, lossless and readable: relaxed where that reads back as the same BSON type, canonical where it would not. Accept: application/ejson; mode=canonical or mode=relaxed asks for a pure form.',
  access: 'read',
  operation: 'read',
  request: {
    params: DatabaseIdParams,
    query: z.object({ collection: collectionName, databaseName, limit: pageSize, cursor: pageCursor(8000) }),
  },
  responses: {
    200: page,
    ...failures(...databaseFailures, 'DB_QUERY_ERROR', 'DB_NOT_PRIMARY'),
  },
})

export const documents = createRouter().openapi(list, async (c) => {
  const { databaseId } = c.req.valid('param')
  const query = c.req.valid('query')
  c.env.databaseId = databaseId
  const { keyring } = c.env.deps
  const scope = JSON.stringify(['mongodb-documents', databaseId, query.databaseName ?? null, query.collection])
  const position = query.cursor === undefined ? undefined : positionOf(readCursor(keyring, scope, query.cursor))
  const mode = modeOf(c)
  using session = await c.env.deps.open(mongodb, databaseId, c.env.call)
  const { documents: texts, next } = await session.documents(
    query.databaseName ?? '',
    query.collection,
    { limit: query.limit, mode, position },
    c.env.call,
  )
  const pagination = {
    next_cursor:
      next === null
        ? null
        : signCursor(keyring, scope, 'id' in next ? ['id', next.id, next.skip] : ['skip', next.skip]),
    has_more: next !== null,
  }
  return sendEjson(c, mode, `{"data":[${texts.join(',')}],"pagination":${JSON.stringify(pagination)}}`)
})

function positionOf([kind, value, skip]: readonly unknown[]): Position {
  return kind === 'skip' ? { skip: Number(value) } : { id: String(value), skip: Number(skip ?? 0) }
}
