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
 * only an example reaches the requests it makes of a schema's boundaries.
 */
export function asServed(document: Schema, known: readonly KnownValues[]): Schema {
  const paths = Object.entries(document['paths'] as Readonly<Record<string, Record<string, unknown>>>)
  const served = paths.map(([path, { servers, ...item }]) => {
    const methods = Object.entries(item).map(([method, spec]) => [
      method,
      withExamples(spec as OperationSpec, method, known, document),
    ])
    return [servers === undefined ? `/api${path}` : path, Object.fromEntries(methods)]
  })
  return { ...document, servers: [{ url: '/' }], paths: Object.fromEntries(served) }
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
    ...dictionaries,
    '[phases]',
    ...phases,
    ...operations,
  ].join('\n')
}
