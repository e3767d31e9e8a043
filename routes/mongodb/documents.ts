import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { readCursor, signCursor } from '#src/credentials/signed.ts'
import { mongodb } from '#src/engines/mongodb/engine.ts'
import type { Position } from '#src/engines/mongodb/session.ts'
import type { EjsonMode } from '#src/engines/mongodb/values.ts'
import { contract, databaseFailures, failures, json } from '#src/http/contract.ts'
import type { Env } from '#src/http/env.ts'
import { DatabaseIdParams, limit, text } from '#src/http/fields.ts'
import { createRouter } from '#src/http/router.ts'
import { collectionName, databaseName } from './schemas.ts'

const page = json(
  z
    .object({
      data: z.array(z.unknown()),
      pagination: z.object({ next_cursor: z.string().nullable(), has_more: z.boolean() }),
    })
    .openapi('MongoDocumentPage'),
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
    query: z.object({ collection: collectionName, databaseName, limit, cursor: text(8000, 1).optional() }),
  },
  responses: {
    200: { ...page, content: { ...page.content, 'application/ejson': page.content['application/json'] } },
    ...failures(...databaseFailures, 'DB_QUERY_ERROR'),
  },
})

export const documents = createRouter().openapi(list, async (c) => {
  const { databaseId } = c.req.valid('param')
  const query = c.req.valid('query')
  c.set('databaseId', databaseId)
  const { keyring } = c.var.deps
  const scope = JSON.stringify(['mongodb-documents', databaseId, query.databaseName ?? null, query.collection])
  const position = query.cursor === undefined ? undefined : positionOf(readCursor(keyring, scope, query.cursor))
  const mode = modeOf(c.req.header('accept') ?? '')
  await using session = await c.var.deps.open(mongodb, databaseId, c.var.call)
  const { documents: texts, next } = await session.documents(
    query.databaseName ?? '',
    query.collection,
    { limit: query.limit, mode, position },
    c.var.call,
  )
  const pagination = {
    next_cursor:
      next === null
        ? null
        : signCursor(keyring, scope, 'id' in next ? ['id', next.id, next.skip] : ['skip', next.skip]),
    has_more: next !== null,
  }
  return send(c, mode, `{"data":[${texts.join(',')}],"pagination":${JSON.stringify(pagination)}}`)
})

function positionOf([kind, value, skip]: readonly unknown[]): Position {
  return kind === 'skip' ? { skip: Number(value) } : { id: String(value), skip: Number(skip ?? 0) }
}

function modeOf(accept: string): EjsonMode {
  const match = /application\/ejson\s*;\s*mode="?(canonical|relaxed)"?/i.exec(accept)
  return (match?.[1]?.toLowerCase() as EjsonMode | undefined) ?? 'readable'
}

// Text that is JSON already: parsing it would lose what it was written as text for.
function send(c: Context<Env>, mode: EjsonMode, body: string) {
  const mediaType = mode === 'readable' ? 'application/json' : `application/ejson; mode=${mode}`
  return c.body(body, 200, { 'content-type': mediaType }) as never
}
