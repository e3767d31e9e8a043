import { describe, expect, test } from 'bun:test'
import { MongoServerError } from 'mongodb'
import { translate as translateMongo } from '#src/engines/mongodb/errors.ts'
import { statementTimedOut, translate as translatePostgres } from '#src/engines/postgres/errors.ts'
import { translate as translateRedis } from '#src/engines/redis/errors.ts'
import { timedOut } from '#src/engines/dial-errors.ts'
import { ApiError, invalid } from '#src/errors.ts'
import { type Outcome, outcomeOf } from '#src/registry/outcome.ts'

const judged = (error: unknown, waitedMs = 10_000) => outcomeOf(error, waitedMs, 1_000)
const each = (cases: readonly (readonly [unknown, Outcome])[]) => {
  expect(cases.map(([error]) => judged(error))).toEqual(cases.map(([, outcome]) => outcome))
}

describe('the outcome of a request', () => {
  test('that PostgreSQL ended: FATAL is the server, ERROR the statement, whatever code it raises', () => {
    const server = (code: string, severity: string) =>
      translatePostgres(Object.assign(new Error('x'), { code, severity }), { readOnly: true })
    each([
      [server('57P01', 'FATAL'), 'failed'],
      [server('57P03', 'FATAL'), 'failed'],
      [server('28P01', 'FATAL'), 'refused'],
      [server('53300', 'FATAL'), 'nothing'],
      [server('XX000', 'PANIC'), 'failed'],
      [server('28P01', 'ERROR'), 'answered'],
      [server('57P01', 'ERROR'), 'answered'],
      [server('XX000', 'ERROR'), 'answered'],
      [server('53100', 'ERROR'), 'answered'],
      [server('57014', 'ERROR'), 'answered'],
      [server('55P03', 'ERROR'), 'answered'],
      [server('23505', 'ERROR'), 'answered'],
      [server('42601', 'ERROR'), 'answered'],
      [server('25006', 'ERROR'), 'answered'],
      [translatePostgres(Object.assign(new Error('x'), { code: 'CONNECTION_CLOSED' })), 'failed'],
    ])
  })

  test('that Redis ended: what stops it whole, not what stops writes', () => {
    const reply = (text: string) => translateRedis(Object.assign(new Error(text), { name: 'ReplyError' }))
    each([
      [reply('LOADING x'), 'failed'],
      [reply('BUSY x'), 'failed'],
      [reply('CLUSTERDOWN x'), 'failed'],
      [reply('OOM x'), 'answered'],
      [reply('MISCONF x'), 'answered'],
      [reply('WRONGTYPE x'), 'answered'],
      [reply('READONLY x'), 'nothing'],
      [reply('NOAUTH x'), 'failed'],
    ])
  })

  test('that MongoDB ended', () => {
    const server = (code: number) => translateMongo(new MongoServerError({ code }))
    each([
      [server(91), 'failed'],
      [server(50), 'answered'],
      [server(18), 'failed'],
      [translateMongo(Object.assign(new MongoServerError({ code: 18 }), { connectionGeneration: 0 })), 'refused'],
      [server(13), 'answered'],
      [server(11000), 'answered'],
      [server(10107), 'nothing'],
    ])
  })

  test('that time ended: the store’s silence counts, a caller in a hurry and one who left do not', () => {
    const silence = statementTimedOut(true, { cause: new DOMException('', 'TimeoutError') })
    const left = statementTimedOut(true, { cause: new DOMException('', 'AbortError') })
    expect([judged(silence), judged(timedOut('x')), judged(silence, 999), judged(left)]).toEqual([
      'failed',
      'failed',
      'nothing',
      'nothing',
    ])
  })

  test('that was the caller’s fault or ours says nothing', () => {
    each([
      [undefined, 'answered'],
      [new ApiError('NOT_FOUND', 'x'), 'answered'],
      [invalid('a', 'b'), 'nothing'],
      [new ApiError('POOL_EXHAUSTED', 'x'), 'nothing'],
      [new ApiError('DB_READ_ONLY', 'x'), 'nothing'],
      [new ApiError('FEATURE_DISABLED', 'x'), 'nothing'],
      [new ApiError('DB_UNAVAILABLE', 'x'), 'nothing'],
      [new ApiError('DB_UNAVAILABLE', 'x', { cause: timedOut('x'), details: { reason: 'breaker' } }), 'nothing'],
      [new Error('x'), 'nothing'],
    ])
  })
})
