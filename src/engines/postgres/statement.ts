import type { ErrorCode } from '#src/errors.ts'

/** Why a statement can't be sent through the query route, with a message for the caller. */
export interface Refusal {
  readonly code: Extract<ErrorCode, 'DB_QUERY_ERROR' | 'DB_UNSUPPORTED' | 'VALIDATION_FAILED'>
  readonly message: string
}

const transactionControl: ReadonlySet<string> = new Set([
  'ABORT',
  'BEGIN',
  'COMMIT',
  'END',
  'RELEASE',
  'ROLLBACK',
  'SAVEPOINT',
  'START',
])

// WITH may hold a write and EXPLAIN ANALYZE run one: those the read-only transaction refuses.
const reading: ReadonlySet<string> = new Set(['EXPLAIN', 'SELECT', 'SHOW', 'TABLE', 'VALUES', 'WITH'])

const unsupported: Readonly<Record<string, string>> = {
  COPY: 'COPY does not run as a query: use the export and import routes',
  DISCARD: 'DISCARD has no use here: a connection is cleaned after every request',
  LISTEN: 'LISTEN does not outlive a request: use the notifications route',
  UNLISTEN: 'UNLISTEN has no use here: no subscription outlives a request',
}

/**
 * The first keyword of a statement in upper case, after white space, comments, empty statements and parentheses, read as
 * PostgreSQL's scanner does; `undefined` where something else stands first. A no-break space or a byte order mark is part of
 * an identifier there, never white space.
 */
export function leadingKeyword(sql: string): string | undefined {
  return keywordAt(sql, skipBlank(sql, 0, ';('))?.word
}

/**
 * Whether the statement is of a kind that may run read-only: every kind of PostgreSQL's begins with a keyword of its own, so the first
 * one tells it. What a new version adds is not among them.
 */
export function isReadingKind(sql: string): boolean {
  return reading.has(leadingKeyword(sql) ?? '')
}

/**
 * Why this one statement may not run inside the transaction that the server opened for it: transaction control would end or
 * widen that transaction, COPY and LISTEN speak a protocol of their own. Whether it writes is for the server's transaction to say.
 */
export function refusal(sql: string): Refusal | undefined {
  if (sql.includes('\0')) return { code: 'VALIDATION_FAILED', message: 'The query holds a NUL character' }
  if (!sql.isWellFormed()) return { code: 'VALIDATION_FAILED', message: 'The query holds half of a surrogate pair' }
  if (skipBlank(sql, 0, ';') === sql.length) return { code: 'VALIDATION_FAILED', message: 'The query is empty' }
  const first = keywordAt(sql, skipBlank(sql, 0, ';('))
  if (first === undefined) return undefined
  if (controlsTransaction(sql, first)) {
    return {
      code: 'DB_QUERY_ERROR',
      message: `${first.word} would change the transaction this query runs in: send the statements of one transaction to query/batch`,
    }
  }
  const message = Object.hasOwn(unsupported, first.word) ? unsupported[first.word] : undefined
  return message === undefined ? undefined : { code: 'DB_UNSUPPORTED', message }
}

interface Word {
  readonly word: string
  readonly end: number
}

function controlsTransaction(sql: string, first: Word): boolean {
  if (transactionControl.has(first.word)) return true
  let at = skipBlank(sql, first.end)
  let next = keywordAt(sql, at)
  if (first.word === 'PREPARE') {
    // A statement may be prepared under that name too, which is followed by AS or its types.
    if (next?.word !== 'TRANSACTION') return false
    at = skipBlank(sql, next.end)
    return sql.charAt(at) !== '(' && keywordAt(sql, at)?.word !== 'AS'
  }
  if (first.word !== 'SET' && first.word !== 'RESET') return false
  if (next?.word === 'LOCAL' || next?.word === 'SESSION') {
    at = skipBlank(sql, next.end)
    next = keywordAt(sql, at)
  }
  if (next?.word === 'TRANSACTION' || next?.word === 'CHARACTERISTICS') return true
  // A setting's name may be quoted and has no case either way.
  return matchAt(/(?:U&)?"?transaction_(?:isolation|read_only|deferrable)(?![\w$\x80-\uffff])/iy, sql, at) !== null
}

function keywordAt(sql: string, at: number): Word | undefined {
  const word = matchAt(/[A-Za-z_][\w$\x80-\uffff]*/y, sql, at)?.[0]
  return word !== undefined && /^\w+$/.test(word) ? { word: word.toUpperCase(), end: at + word.length } : undefined
}

/** Where the next token begins: comments end at `\r` too, block comments nest, and `\v` is space from PostgreSQL 16 on. */
function skipBlank(sql: string, from: number, also = ''): number {
  let at = from
  for (;;) {
    const char = sql.charAt(at)
    if (char !== '' && (' \t\n\r\f\v'.includes(char) || also.includes(char))) at += 1
    else if (sql.startsWith('--', at)) at += matchAt(/[^\n\r]*/y, sql, at)?.[0].length ?? 0
    else if (sql.startsWith('/*', at)) {
      const end = commentEnd(sql, at)
      if (end === undefined) return at
      at = end
    } else return at
  }
}

/** The end of a block comment; an unfinished one has none, and the server says so. */
function commentEnd(sql: string, start: number): number | undefined {
  let depth = 0
  for (let at = start; at < sql.length; at += 1) {
    if (sql.startsWith('/*', at)) {
      depth += 1
      at += 1
    } else if (sql.startsWith('*/', at)) {
      depth -= 1
      at += 1
      if (depth === 0) return at + 1
    }
  }
  return undefined
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}
