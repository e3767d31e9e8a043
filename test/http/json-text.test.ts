import { expect, test } from 'bun:test'
import { findJsonProblem } from '#src/http/json-text.ts'

const problem = (text: string) => findJsonProblem(new TextEncoder().encode(text).buffer)

test('numbers that keep their value in whatever spelling are taken', () => {
  for (const number of [
    '0',
    '-0',
    '-0.0',
    '1.10',
    '1e2',
    '1E+2',
    '100e-2',
    '0.1',
    '1.7976931348623157e308',
    '9007199254740991',
    '1000000000000000000000',
    '5e-324',
  ])
    expect([number, problem(`{"a":${number}}`)]).toEqual([number, undefined])
})

test('numbers that would silently be others are not', () => {
  for (const number of [
    '1e400',
    '-1e400',
    '1e-400',
    '9007199254740993',
    '9007199254740993.0',
    '0.12345678901234567890123',
    '123456789012345678901',
  ])
    expect([number, problem(`[${number}]`) === undefined]).toEqual([number, false])
})
