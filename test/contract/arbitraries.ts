import fc from 'fast-check'
import type { DocumentedOperation, Schema } from './operations.ts'

/** One request to an operation: values as they travel. */
export interface GeneratedRequest {
  readonly path: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

const hostileText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '',
    ' ',
    '\0',
    'null',
    '-1',
    '1e400',
    '../..',
    "' or 1=1 --",
    '%',
    '{"$ne":null}',
    '💥',
    '\uD800',
    'x'.repeat(5_000),
  ),
)
const anything = fc.oneof(hostileText, fc.jsonValue({ maxDepth: 2 }))

/** Requests for an operation, some as documented and some wrong in one place or in all. `known` gives ids and names that exist. */
export function requestsFor(
  { spec }: DocumentedOperation,
  document: Schema,
  known: (parameter: string) => readonly string[],
): fc.Arbitrary<GeneratedRequest> {
  const valid = (schema: Schema) => documented(schema, document)
  const parameters = (place: 'path' | 'query' | 'header') =>
    (spec.parameters ?? [])
      .filter((parameter) => parameter.in === place)
      .map(({ name, required, schema }) => {
        const fitting = valid(schema).map(String)
        const given = known(name)
        const usual =
          given.length > 0 ? fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...given) }, fitting) : fitting
        const value = fc.oneof({ weight: 6, arbitrary: usual }, hostileText)
        return [name, required ? value : fc.option(value, { nil: undefined, freq: 2 })] as const
      })
  const textRecord = (entries: readonly (readonly [string, fc.Arbitrary<string | undefined>])[]) =>
    fc
      .record(Object.fromEntries(entries))
      .map(
        (record) =>
          Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as Record<
            string,
            string
          >,
      )
  const schema = spec.requestBody?.content['application/json']?.schema
  const fitting = schema === undefined ? fc.constant(undefined) : valid(schema)
  const lines = spec.requestBody?.content['application/x-ndjson']?.schema
  const line = fc.oneof(
    fc.constant(String(lines?.['example'])),
    hostileText,
    anything.map((value) => JSON.stringify(value)),
  )
  const body =
    schema === undefined
      ? lines === undefined
        ? fitting
        : fc.array(line, { maxLength: 5 }).map((some) => some.join('\n'))
      : fc.oneof({ weight: 5, arbitrary: fitting }, { weight: 3, arbitrary: spoiled(fitting) }, anything)
  return fc.record({
    // An empty or dotted segment is another path.
    path: textRecord(parameters('path')).filter((path) => Object.values(path).every((value) => !/^\.*$/.test(value))),
    query: textRecord(parameters('query')),
    headers: textRecord(parameters('header')).map((headers) =>
      Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replaceAll(/[^\x20-\x7e]/g, '')])),
    ),
    body,
  })
}

/** An object with a member left out, replaced or added. */
function spoiled(fitting: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc
    .tuple(fitting, fc.nat(), fc.constantFrom('drop', 'replace', 'add'), anything)
    .map(([value, index, how, other]) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return other
      const names = Object.keys(value)
      const name = names[index % Math.max(1, names.length)] ?? 'name'
      if (how === 'add') return { ...value, [typeof other === 'string' ? other : 'extra']: other }
      const { [name]: _, ...rest } = value as Record<string, unknown>
      return how === 'drop' ? rest : { ...rest, [name]: other }
    })
}

/** Values that a schema of the document describes. */
function documented(schema: Schema, document: Schema): fc.Arbitrary<unknown> {
  const { $ref, allOf, anyOf, oneOf, type, example, examples } = schema
  const every = (schemas: unknown) => fc.oneof(...(schemas as Schema[]).map((entry) => documented(entry, document)))
  const of = (): fc.Arbitrary<unknown> => {
    if (typeof $ref === 'string') return documented(dereference($ref, document), document)
    if (Array.isArray(allOf))
      return documented(
        Object.assign({}, ...(allOf as Schema[]).map((part) => resolved(part, document))) as Schema,
        document,
      )
    if (anyOf ?? oneOf) return every(anyOf ?? oneOf)
    if (Array.isArray(type)) return every(type.map((one) => ({ ...schema, type: one })))
    return plain(schema, document)
  }
  const shown = [...(example === undefined ? [] : [example]), ...((examples ?? []) as readonly unknown[])]
  return shown.length === 0 ? of() : fc.oneof(fc.constantFrom(...shown), of())
}

function plain(schema: Schema, document: Schema): fc.Arbitrary<unknown> {
  const { type, format, pattern, minLength, maxLength, minimum, maximum, items, maxItems } = schema as Readonly<
    Record<string, never>
  >
  if (Array.isArray(schema['enum'])) return fc.constantFrom(...(schema['enum'] as unknown[]))
  if (type === 'null') return fc.constant(null)
  if (type === 'boolean') return fc.boolean()
  if (type === 'integer')
    return fc.integer({ min: minimum ?? -1_000_000, max: Math.min(maximum ?? 1_000_000, 2 ** 31 - 1) })
  if (type === 'number') return fc.double({ noNaN: true, noDefaultInfinity: true })
  if (type === 'array') return fc.array(documented(items ?? {}, document), { maxLength: Math.min(maxItems ?? 5, 5) })
  if (type === 'object') return objects(schema, document)
  if (type !== 'string') return fc.jsonValue({ maxDepth: 2 })
  if (format === 'uuid') return fc.uuid()
  if (format === 'email') return fc.emailAddress()
  if (pattern !== undefined)
    return fc.stringMatching(new RegExp(pattern)).filter((text) => text.length <= (maxLength ?? 1_000))
  return fc.string({ unit: 'grapheme', minLength: minLength ?? 0, maxLength: Math.min(maxLength ?? 30, 30) })
}

function objects(schema: Schema, document: Schema): fc.Arbitrary<unknown> {
  const properties = Object.entries((schema['properties'] ?? {}) as Readonly<Record<string, Schema>>)
  const required = new Set((schema['required'] ?? []) as readonly string[])
  if (properties.length === 0)
    return fc.dictionary(fc.string({ maxLength: 10 }), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 3 })
  return fc.record(Object.fromEntries(properties.map(([name, entry]) => [name, documented(entry, document)])), {
    requiredKeys: properties.map(([name]) => name).filter((name) => required.has(name)),
  })
}

function resolved(schema: Schema, document: Schema): Schema {
  return typeof schema['$ref'] === 'string' ? dereference(schema['$ref'], document) : schema
}

function dereference(ref: string, document: Schema): Schema {
  const found = ref
    .slice(2)
    .split('/')
    .reduce<unknown>((node, name) => (node as Schema)[name], document)
  return found as Schema
}
