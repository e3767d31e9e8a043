import type { Sql } from 'postgres'
import { toParameters, type QueryParameter } from './parameters.ts'
import { leadingKeyword } from './statement.ts'
import { type ArrayElement, typeName } from './type-names.ts'
import { type JsonValue, rowReader, toRow } from './values.ts'

export interface QueryRequest {
  readonly query: string
  readonly parameters: readonly QueryParameter[]
  readonly readOnly: boolean
  /** Rows to answer at the most; the rest is not fetched and `truncated` says so. */
  readonly maxRows: number
  readonly rowMode: 'object' | 'array'
}

export interface Column {
  readonly name: string
  readonly type: string
  readonly type_id: number
}

export interface QueryResult {
  readonly columns: readonly Column[]
  readonly rows: readonly (readonly JsonValue[] | Readonly<Record<string, JsonValue>>)[]
  /** Rows the statement returned, as far as they were read, or changed. */
  readonly row_count: number
  readonly command: string
  readonly truncated: boolean
}

type RawRow = readonly (Buffer | null)[]

interface Field {
  readonly name: string
  readonly type: number
}

const batchRows = 200

/** Runs one statement on the extended protocol and reads its rows through a portal, so that no more than asked for are sent. */
export async function fetchRows(sql: Sql, request: QueryRequest): Promise<QueryResult> {
  const raw: RawRow[] = []
  // Only the first batch names the columns.
  let columns: readonly Field[] | undefined
  let lastBatch: unknown
  const take = (batch: unknown) => {
    lastBatch = batch
    columns ??= (batch as { columns?: readonly Field[] }).columns
    raw.push(...(batch as RawRow[]))
  }
  const query = sql
    .unsafe(request.query, toParameters(request.parameters) as never[], { prepare: false, simple: false } as never)
    .raw()
  const result = await query.cursor(Math.min(batchRows, request.maxRows + 1), (batch) => {
    take(batch)
    return raw.length > request.maxRows ? (sql as unknown as { CLOSE: object }).CLOSE : undefined
  })
  // A last batch whose command tag has no count (SHOW, EXPLAIN) is not handed to the callback.
  if ((result as unknown) !== lastBatch) take(result)
  const fields = columns ?? []
  const { names, elements } = await describeTypes(
    sql,
    fields.map(({ type }) => type),
  )
  const read = rowReader(
    fields.map(({ name, type }) => ({ name, typeOid: type })),
    (oid) => elements.get(oid),
  )
  const truncated = raw.length > request.maxRows
  const rows = raw.slice(0, request.maxRows).map(read)
  return {
    columns: fields.map(({ name, type }) => ({ name, type: names.get(type) ?? 'unknown', type_id: type })),
    rows: request.rowMode === 'array' ? rows : rows.map((values) => toRow(fields, values)),
    // The tag of a portal counts the rows of its last batch alone.
    row_count: fields.length > 0 ? rows.length : (result.count ?? 0),
    command: result.command ?? leadingKeyword(request.query) ?? '',
    truncated,
  }
}

/** Names of the types, and the elements of those that are arrays but not built in. */
async function describeTypes(sql: Sql, oids: readonly number[]) {
  const names = new Map<number, string>()
  const elements = new Map<number, ArrayElement>()
  const unknown = new Set<number>()
  for (const oid of oids) {
    const name = typeName(oid)
    if (name === undefined) unknown.add(oid)
    else names.set(oid, name)
  }
  if (unknown.size === 0) return { names, elements }
  const rows = await sql.unsafe(
    `select t.oid::int8::text as oid, pg_catalog.format_type(t.oid, null) as name, t.typelem::int8::text as element,
      e.typdelim::text as delimiter from pg_catalog.pg_type t
      left join pg_catalog.pg_type e on e.oid = t.typelem and e.typarray = t.oid where t.oid in (${[...unknown].join(',')})`,
  )
  for (const { oid, name, element, delimiter } of rows) {
    names.set(Number(oid), String(name))
    if (delimiter !== null) elements.set(Number(oid), { oid: Number(element), delimiter: String(delimiter) })
  }
  return { names, elements }
}
