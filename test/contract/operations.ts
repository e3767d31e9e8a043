import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

export type Schema = Readonly<Record<string, unknown>>

export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly required?: boolean
  readonly schema: Schema
}

interface Body {
  readonly content: Readonly<Record<string, { readonly schema: Schema }>>
}

export interface OperationSpec {
  readonly operationId: string
  readonly summary?: string
  readonly description?: string
  readonly tags?: readonly string[]
  readonly security?: unknown
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: Body & { readonly required?: boolean }
  readonly responses: Readonly<Record<string, Partial<Body> & { readonly description: string }>>
  readonly 'x-access'?: string
  readonly 'x-operation'?: string
}

export interface DocumentedOperation {
  readonly id: string
  readonly method: string
  /** With its server's base, `{…}` in place of parameters. */
  readonly url: string
  readonly spec: OperationSpec
}

const methods = ['get', 'post', 'put', 'patch', 'delete'] as const

export function listOperations(document: Schema): readonly DocumentedOperation[] {
  type Item = { readonly servers?: readonly { url: string }[] } & Readonly<Record<string, OperationSpec>>
  return Object.entries(document['paths'] as Readonly<Record<string, Item>>).flatMap(([path, item]) => {
    const base = item.servers?.[0]?.url ?? '/api'
    return methods.flatMap((method) => {
      const spec = item[method]
      return spec === undefined ? [] : [{ id: spec.operationId, method, url: base === '/' ? path : base + path, spec }]
    })
  })
}

const [events, lines] = ['text/event-stream', 'application/x-ndjson']

const answers = ({ spec }: DocumentedOperation, type: string) =>
  Object.values(spec.responses).some(({ content }) => content !== undefined && type in content)

/** Whether it answers server-sent events, which may have no end. */
export function isEndless(operation: DocumentedOperation): boolean {
  return answers(operation, events)
}

/** Whether it answers events or lines as they come: `readStreamed` reads them. */
export function isStreamed(operation: DocumentedOperation): boolean {
  return answers(operation, events) || answers(operation, lines)
}

/** Whether its body is no JSON, but lines of it. */
export function takesLines({ spec }: DocumentedOperation): boolean {
  return spec.requestBody !== undefined && lines in spec.requestBody.content
}

export interface StreamedAnswer {
  readonly status: number
  /** Empty where it was a stream, as it is documented: of JSON. */
  readonly text: string
  readonly body: unknown
  /** It may also have been JSON as a whole: an error, or what the operation answers otherwise. */
  readonly isStream: boolean
}

/** Reads the answer of a streamed operation: lines to their end, events until the first, after which the reader leaves. */
export async function readStreamed(response: Response): Promise<StreamedAnswer> {
  const { status } = response
  const type = response.headers.get('content-type')
  if (type !== events && type !== lines) {
    const text = await response.text()
    return { status, text, body: isJson(text) ? JSON.parse(text) : undefined, isStream: false }
  }
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (type === events && text.includes('\n\n')) break
  }
  const values = type === events ? [/^data: (.*)$/m.exec(text)?.[1] ?? ''] : text.split('\n').slice(0, -1)
  return { status, text: values.every(isJson) ? '' : text, body: undefined, isStream: true }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Checks values against schemas of the document; answers what is wrong, a line each. */
export function schemaCheck(document: Schema): (schema: Schema, value: unknown) => readonly string[] {
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: true })
  addFormats.default(ajv)
  ajv.addSchema({ $id: 'document', components: document['components'] })
  const compiled = new Map<string, ReturnType<typeof ajv.compile>>()
  return (schema, value) => {
    const text = JSON.stringify(schema).replaceAll('"#/components/', '"document#/components/')
    let validate = compiled.get(text)
    if (validate === undefined) {
      validate = ajv.compile(JSON.parse(text) as object)
      compiled.set(text, validate)
    }
    return validate(value)
      ? []
      : (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`)
  }
}
