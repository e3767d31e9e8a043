import type { z } from '@hono/zod-openapi'
import type { ErrorCode } from '#src/errors.ts'
import { body, contract, failures, json } from '#src/http/contract.ts'
import { DatabaseIdParams } from '#src/http/fields.ts'
import { readFailures, writeCodes, writeQuery } from './set-schemas.ts'

const usualCodes = ['NOT_FOUND', 'DB_CONFLICT'] as const

interface Texts<P extends string> {
  readonly path: P
  readonly operationId: string
  readonly summary: string
  readonly description: string
}

interface Answer<A extends z.ZodType> {
  readonly answer: A
  readonly answered: string
}

interface Read<P extends string, Q extends z.ZodObject, A extends z.ZodType> extends Texts<P>, Answer<A> {
  readonly query: Q
}

interface Write<P extends string, Q extends z.ZodObject, B extends z.ZodType, A extends z.ZodType>
  extends Texts<P>, Answer<A> {
  readonly operation: 'write' | 'delete'
  /** `db` alone unless given. */
  readonly query?: Q
  readonly body: B
  /** Beside those of every write; absent keys and conflicts unless given. */
  readonly codes?: readonly ErrorCode[]
}

/** The contract of a GET that reads of a value; `answered` describes its answer. */
export function readContract<const P extends string, Q extends z.ZodObject, A extends z.ZodType>(route: Read<P, Q, A>) {
  const { path, operationId, summary, description, query, answer, answered } = route
  return contract({
    method: 'get',
    path,
    operationId,
    tags: ['redis'],
    summary,
    description,
    access: 'read',
    operation: 'read',
    request: { params: DatabaseIdParams, query },
    responses: { 200: json(answer, answered), ...readFailures },
  })
}

/** The contract of a POST that changes a value; `answered` describes its answer. */
export function writeContract<
  const P extends string,
  B extends z.ZodType,
  A extends z.ZodType,
  Q extends z.ZodObject = typeof writeQuery,
>(route: Write<P, Q, B, A>) {
  const { path, operationId, summary, description, operation, answer, answered, codes = usualCodes } = route
  const query = (route.query ?? writeQuery) as Q
  return contract({
    method: 'post',
    path,
    operationId,
    tags: ['redis'],
    summary,
    description,
    access: 'write',
    operation,
    request: { params: DatabaseIdParams, query, body: body(route.body) },
    responses: { 200: json(answer, answered), ...failures(...writeCodes, ...codes) },
  })
}
