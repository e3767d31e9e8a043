import { z } from '@hono/zod-openapi'
import { writeContract } from './contracts.ts'
import { cappedValue } from './hash-contract.ts'
import { RedisValue } from './schemas.ts'
import { encodedWriteQuery } from './set-schemas.ts'

const maxValues = 1_000

/** A position from the beginning, or from the end where it is negative. */
const position = z.int().openapi({ description: 'From the beginning, which is 0, or from the end, which is -1' })
const side = z.enum(['left', 'right']).openapi({ description: 'left is the beginning' })
const length = z.number().openapi({ description: 'Elements that are there now; a list of none is gone' })
const removed = z.number()
const Shortened = z
  .object({ key: RedisValue, removed, length })
  .openapi('RedisListShortened', { example: { key: 'queue', removed: 1, length: 2 } })
const expected = RedisValue.optional().openapi({
  description: 'The element that must be there; another is 409 DB_CONFLICT, and nothing is written',
})

/** Pushes elements. */
export const push = writeContract({
  query: encodedWriteQuery,
  path: '/{databaseId}/lists/push',
  operationId: 'RedisListsController_push',
  summary: 'Push elements to a list',
  description: 'One after the other: of several that are pushed to the left, the last comes first.',
  operation: 'write',
  body: z
    .strictObject({
      key: RedisValue,
      values: z.array(RedisValue).min(1).max(maxValues),
      side: side.default('right'),
      onlyNew: z.boolean().optional().openapi({ description: 'Only where there is no such key' }),
      mustExist: z.boolean().optional().openapi({ description: 'Only where there is such a list' }),
    })
    .refine(({ onlyNew, mustExist }) => !(onlyNew && mustExist), {
      error: 'onlyNew and mustExist exclude each other',
      path: ['onlyNew'],
    })
    .openapi('PushToRedisList', { example: { key: 'queue', values: ['first', 'second'], side: 'right' } }),
  answer: z
    .object({
      key: RedisValue,
      pushed: z.number().openapi({ description: '0 where onlyNew or mustExist forbade it' }),
      length,
    })
    .openapi('RedisListPushed', { example: { key: 'queue', pushed: 2, length: 2 } }),
  answered: 'How many were pushed',
})

/** Replaces the element at a position. */
export const set = writeContract({
  query: encodedWriteQuery,
  path: '/{databaseId}/lists/set',
  operationId: 'RedisListsController_set',
  summary: 'Replace an element of a list',
  description: 'At a position; with expected only where that element is there.',
  operation: 'write',
  body: z
    .strictObject({ key: RedisValue, index: position, value: RedisValue, expected })
    .openapi('SetRedisListElement', { example: { key: 'queue', index: 0, value: 'changed' } }),
  answer: z
    .object({ key: RedisValue, index: z.number(), written: z.literal(true), length })
    .openapi('RedisListElementSet', { example: { key: 'queue', index: 0, written: true, length: 2 } }),
  answered: 'It was replaced',
})

/** Inserts an element beside another. */
export const insert = writeContract({
  query: encodedWriteQuery,
  path: '/{databaseId}/lists/insert',
  operationId: 'RedisListsController_insert',
  summary: 'Insert an element into a list',
  description: 'Before or after the first element that equals the pivot; 404 where there is none.',
  operation: 'write',
  body: z
    .strictObject({ key: RedisValue, where: z.enum(['before', 'after']), pivot: RedisValue, value: RedisValue })
    .openapi('InsertIntoRedisList', {
      example: { key: 'queue', where: 'before', pivot: 'second', value: 'one and a half' },
    }),
  answer: z.object({ key: RedisValue, length }).openapi('RedisListInserted', { example: { key: 'queue', length: 3 } }),
  answered: 'How many there are now',
})

/** Removes elements by their value, or the one at a position. */
export const remove = writeContract({
  query: encodedWriteQuery,
  path: '/{databaseId}/lists/remove',
  operationId: 'RedisListsController_remove',
  summary: 'Remove elements of a list',
  description:
    'Those that equal a value, or the one at a position: with expected only where that element is there, so that a list that moved in between loses no other.',
  operation: 'delete',
  body: z
    .strictObject({
      key: RedisValue,
      value: RedisValue.optional(),
      count: z
        .int()
        .optional()
        .openapi({ description: 'With value: so many, from the end where negative; 0 is all. 1 unless given' }),
      index: position.optional(),
      expected,
    })
    .refine(({ value, index }) => (value === undefined) !== (index === undefined), {
      error: 'either value or index is needed',
      path: ['value'],
    })
    .refine(({ value, count }) => count === undefined || value !== undefined, {
      error: 'needs value',
      path: ['count'],
    })
    .refine(({ index, expected: wanted }) => wanted === undefined || index !== undefined, {
      error: 'needs index',
      path: ['expected'],
    })
    .openapi('RemoveFromRedisList', { example: { key: 'queue', value: 'second', count: 1 } }),
  answer: Shortened,
  answered: 'How many were removed',
})

/** Keeps a range of positions. */
export const trim = writeContract({
  query: encodedWriteQuery,
  path: '/{databaseId}/lists/trim',
  operationId: 'RedisListsController_trim',
  summary: 'Trim a list',
  description: 'Keeps the elements from start to stop, both included; an empty range removes the list.',
  operation: 'delete',
  body: z
    .strictObject({ key: RedisValue, start: position, stop: position })
    .openapi('TrimRedisList', { example: { key: 'queue', start: 0, stop: 99 } }),
  answer: Shortened,
  answered: 'How many were removed',
})

/** Takes elements from an end. */
export const pop = writeContract({
  query: encodedWriteQuery,
  path: '/{databaseId}/lists/pop',
  operationId: 'RedisListsController_pop',
  summary: 'Pop elements of a list',
  description: 'What is too large to be answered is not taken: 413 RESULT_TOO_LARGE, as are elements above 1 MiB.',
  operation: 'delete',
  body: z
    .strictObject({ key: RedisValue, side: side.default('left'), count: z.int().min(1).max(maxValues).default(1) })
    .openapi('PopFromRedisList', { example: { key: 'queue', side: 'left', count: 1 } }),
  answer: z
    .object({
      key: RedisValue,
      data: z.array(RedisValue).openapi({ description: 'In the order they were taken' }),
      length,
    })
    .openapi('RedisListPopped', { example: { key: 'queue', data: ['first'], length: 1 } }),
  answered: 'The elements',
})

/** Moves an element between lists. */
export const move = writeContract({
  query: encodedWriteQuery,
  path: '/{databaseId}/lists/move',
  operationId: 'RedisListsController_move',
  summary: 'Move an element to another list',
  description: 'By LMOVE. Source and destination may be one list, which turns it.',
  operation: 'write',
  body: z
    .strictObject({
      source: RedisValue,
      destination: RedisValue,
      from: side.default('left'),
      to: side.default('right'),
    })
    .openapi('MoveInRedisLists', {
      example: { source: 'queue', destination: 'in progress', from: 'left', to: 'right' },
    }),
  answer: z
    .object({
      source: RedisValue,
      destination: RedisValue,
      ...cappedValue,
      source_length: z.number(),
      destination_length: z.number(),
    })
    .openapi('RedisListMoved', {
      example: {
        source: 'queue',
        destination: 'in progress',
        value: 'first',
        source_length: 1,
        destination_length: 1,
      },
    }),
  answered: 'The element',
})
