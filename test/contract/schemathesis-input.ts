import { join } from 'node:path'
import type { OperationSpec, Schema } from './operations.ts'

/** Values that schemathesis draws four times of five for a parameter (`path.id`, `query.key`) of operations with this tag. */
export interface KnownValues {
  readonly tag: string
  readonly methods?: readonly string[]
  readonly parameters: Readonly<Record<string, readonly string[]>>
}

/**
 * The document as schemathesis has to be told it: it knows one server for all paths, so each path is written as it is served, and
 * only an example reaches the requests it makes of a schema's boundaries. Operations that `leftOut` names are not in it: it reads every
 * answer to its end, which server-sent events may not have, and no body of lines.
 */
export function asServed(document: Schema, known: readonly KnownValues[], leftOut: ReadonlySet<string>): Schema {
  const paths = Object.entries(document['paths'] as Readonly<Record<string, Record<string, unknown>>>)
  const served = paths.map(([path, { servers, ...item }]) => {
    const methods = Object.entries(item)
      .filter(([, spec]) => !leftOut.has((spec as OperationSpec).operationId))
      .map(([method, spec]) => [method, headTooLarge(withExamples(spec as OperationSpec, method, known, document))])
    return [servers === undefined ? `/api${path}` : path, Object.fromEntries(methods)]
  })
  return oneTypeEach({ ...document, servers: [{ url: '/' }], paths: Object.fromEntries(served) })
}

/** The same document: schemathesis 4.30 ends with a TypeError where one of several alternatives has two types. */
function oneTypeEach(document: Schema): Schema {
  return JSON.parse(JSON.stringify(document), (key, value: unknown) => {
    if (key !== 'anyOf' || !Array.isArray(value)) return value
    return (value as Schema[]).flatMap((schema) => {
      const { type } = schema
      return Array.isArray(type) ? type.map((one: unknown) => ({ ...schema, type: one })) : [schema]
    })
  }) as Schema
}

/** With the answer that Bun itself has for a head above 16 kB, which no route sees. */
function headTooLarge(spec: Schema): Schema {
  return { ...spec, responses: { ...(spec['responses'] as object), 431: { description: 'The head is too large' } } }
}

function withExamples(spec: OperationSpec, method: string, known: readonly KnownValues[], document: Schema): Schema {
  const fitting = known.filter(
    ({ tag, methods }) => spec.tags?.includes(tag) && (methods?.includes(method.toUpperCase()) ?? true),
  )
  const values = new Map(fitting.flatMap(({ parameters }) => Object.entries(parameters)))
  const parameters = (spec.parameters ?? []).map((parameter) => {
    const example = values.get(`${parameter.in}.${parameter.name}`)?.[0]
    return example === undefined ? parameter : { ...parameter, schema: { ...parameter.schema, example } }
  })
  const content = spec.requestBody?.content['application/json']
  if (content === undefined) return { ...spec, parameters }
  const { schemas } = document['components'] as { readonly schemas: Readonly<Record<string, Schema>> }
  const { example, properties } = schemas[String(content.schema['$ref']).split('/').at(-1) ?? ''] ?? content.schema
  const names = Object.keys((properties ?? {}) as Schema)
  const changes = names.flatMap((name) => {
    const [value] = values.get(`body.${name}`) ?? []
    return value === undefined ? [] : [[name, value] as const]
  })
  const shown = { ...(example as object | undefined), ...Object.fromEntries(changes) }
  return {
    ...spec,
    parameters,
    requestBody: { ...spec.requestBody, content: { 'application/json': { ...content, example: shown } } },
  }
}

/** Its configuration, as TOML, in which JSON's texts and lists of texts mean the same. */
export function configuration(key: string, known: readonly KnownValues[]): string {
  const toml = (value: string | readonly string[]) => JSON.stringify(value)
  const dictionaries: string[] = []
  const operations = known.map(({ tag, methods, parameters }) => {
    const bound = Object.entries(parameters).map(([parameter, values]) => {
      const name = `dictionary-${dictionaries.length}`
      dictionaries.push(`[dictionaries.${name}]`, `values = ${toml(values)}`)
      return `${toml(parameter)} = { dictionary = ${toml(name)}, probability = 0.8 }`
    })
    const method = methods === undefined ? [] : [`include-method = ${toml(methods)}`]
    return ['[[operations]]', `include-tag = ${toml(tag)}`, ...method, `parameters = { ${bound.join(', ')} }`].join(
      '\n',
    )
  })
  // What other answers held is drawn in the linked requests alone, which come last: they may delete anything.
  const phases = ['examples', 'coverage', 'fuzzing'].map((phase) => `${phase}.extra-data-sources.responses = false`)
  return [
    `hooks = ${toml(join(import.meta.dir, 'schemathesis-hooks.py'))}`,
    `headers = { Authorization = ${toml(`Bearer ${key}`)} }`,
    '[checks.not_a_server_error]',
    `expected-statuses = ${toml(['2xx', '3xx', '4xx', '504'])}`,
    // What is too long is refused for that before anything else is looked at.
    '[checks.negative_data_rejection]',
    `expected-statuses = ${toml(['400', '401', '403', '404', '405', '406', '409', '413', '414', '415', '422', '431', '428', '429', '5xx'])}`,
    ...dictionaries,
    '[phases]',
    ...phases,
    ...operations,
  ].join('\n')
}
