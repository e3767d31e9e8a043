import { describe, expect, test } from 'bun:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { join } from 'node:path'
import { openApiDocument } from '#routes/index.ts'
import { docsPage } from '#routes/docs-page.ts'
import { openPaths } from '#src/http/auth.ts'
import { errorTable } from '#src/errors.ts'
import { docsAssets } from '#src/http/static/assets.ts'
import { listOperations, type Schema, schemaCheck } from './operations.ts'

const document = JSON.parse(JSON.stringify(openApiDocument())) as Readonly<Record<string, unknown>>
const operations = listOperations(document)
const isValid = schemaCheck(document)

/** The operations that break a rule, by name. */
const breaking = (rule: (operation: (typeof operations)[number]) => boolean) =>
  operations.filter((operation) => !rule(operation)).map(({ id }) => id)

describe('openapi.json', () => {
  test('is committed as the routes say it: `bun run openapi` writes it', async () => {
    const committed = await Bun.file(join(import.meta.dir, '..', '..', 'openapi.json')).text()
    expect(committed === `${JSON.stringify(openApiDocument(), null, 2)}\n`).toBe(true)
  })

  test('is valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    const result = await validator.validate(structuredClone(document))
    expect({ version: validator.version, ...result }).toEqual({ version: '3.1', valid: true })
  })

  test('has /platform paths under /api, and root paths with a server of their own', () => {
    const paths = document['paths'] as Readonly<Record<string, { servers?: unknown }>>
    const odd = Object.entries(paths).filter(([path, { servers }]) => {
      const server = path.startsWith('/platform/') ? undefined : [{ url: '/' }]
      return JSON.stringify(servers) !== JSON.stringify(server)
    })
    expect({ servers: document['servers'], odd }).toEqual({ servers: [{ url: '/api' }], odd: [] })
  })

  test('resolves every $ref, and names no schema or example in vain', () => {
    const text = JSON.stringify(document)
    const named = Object.keys((document['components'] as { schemas: object }).schemas)
    const used = new Set([...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(([, name = '']) => name))
    expect(
      [...text.matchAll(/"\$ref":"([^"]+)"/g)].filter(
        ([, ref]) => !/^#\/components\/(schemas|examples)\//.test(ref ?? ''),
      ),
    ).toEqual([])
    expect([...used].sort()).toEqual(named.sort())
    const shown = Object.keys((document['components'] as { examples: object }).examples)
    const referred = new Set([...text.matchAll(/"#\/components\/examples\/([^"]+)"/g)].map(([, name = '']) => name))
    expect([...referred].sort()).toEqual(shown.sort())
  })

  test('holds only patterns that JSON Schema knows: no flags', () => {
    const patterns = [...JSON.stringify(document).matchAll(/"pattern":("(?:[^"\\]|\\.)*")/g)]
    const sources = patterns.map(([, literal = '""']) => String(JSON.parse(literal)))
    expect(sources.filter((source) => /\/[a-z]+$/.test(source) || !isPattern(source))).toEqual([])
  })
})

describe('every operation', () => {
  test('is in the table', () => expect(operations.length).toBeGreaterThan(25))

  test('has an operationId of its own, as XController_method', () => {
    expect(breaking(({ id }) => /^[A-Z]\w+Controller_[a-z]\w*$/.test(id))).toEqual([])
    expect(new Set(operations.map(({ id }) => id)).size).toBe(operations.length)
  })

  test('says what it does, under one of the tags', () => {
    const tags = (document['tags'] as readonly { name: string }[]).map(({ name }) => name)
    expect(breaking(({ spec }) => (spec.summary ?? '').length > 5)).toEqual([])
    expect(breaking(({ spec }) => (spec.description ?? '').endsWith('.'))).toEqual([])
    expect(breaking(({ spec }) => spec.tags?.length === 1 && tags.includes(spec.tags[0] ?? ''))).toEqual([])
  })

  test('declares what it needs and what it does', () => {
    expect(breaking(({ spec }) => ['open', 'read', 'write', 'admin'].includes(String(spec['x-access'])))).toEqual([])
    expect(
      breaking(({ spec }) => ['read', 'write', 'delete', 'connect'].includes(String(spec['x-operation']))),
    ).toEqual([])
    expect(breaking(({ method, spec }) => method !== 'get' || spec['x-operation'] === 'read')).toEqual([])
    expect(breaking(({ method, spec }) => method !== 'delete' || spec['x-operation'] === 'delete')).toEqual([])
  })

  test('needs a key, but for the open ones', () => {
    const needed = [{ bearer: [] }, { apikey: [] }]
    expect(
      breaking(({ url, spec }) => {
        const isOpen = openPaths.has(url)
        return (
          (spec['x-access'] === 'open') === isOpen &&
          JSON.stringify(spec.security) === JSON.stringify(isOpen ? [] : needed)
        )
      }),
    ).toEqual([])
  })

  test('describes each of its answers, errors with their body', () => {
    const error = JSON.stringify({ $ref: '#/components/schemas/Error' })
    expect(
      breaking(({ spec }) => Object.values(spec.responses).every(({ description }) => description !== '')),
    ).toEqual([])
    expect(
      breaking(({ spec }) =>
        Object.entries(spec.responses).every(([status, { content }]) => {
          const schema = content?.['application/json']?.schema
          if (spec['x-access'] === 'open') return schema !== undefined
          // Events and lines have one too.
          const isDescribed = Object.values(content ?? {}).some((entry) => entry.schema !== undefined)
          return status < '400' ? status === '204' || isDescribed : JSON.stringify(schema) === error
        }),
      ),
    ).toEqual([])
  })

  test('that needs a key can fail for want of it, of the registry and of this server', () => {
    expect(
      breaking(
        ({ spec }) =>
          spec['x-access'] === 'open' || ['401', '414', '500', '503'].every((status) => status in spec.responses),
      ),
    ).toEqual([])
  })

  test('that takes anything can find it wrong; that takes a body can find it too large or no JSON', () => {
    const takesInput = (spec: (typeof operations)[number]['spec']) => spec.parameters?.length || spec.requestBody
    expect(breaking(({ spec }) => !takesInput(spec) || '400' in spec.responses)).toEqual([])
    expect(
      breaking(({ spec }) => !spec.requestBody || ['413', '415'].every((status) => status in spec.responses)),
    ).toEqual([])
    expect(breaking(({ spec }) => spec.requestBody === undefined || spec.requestBody.required === true)).toEqual([])
  })

  test('shows an example of its body that is valid', () => {
    const wrong = operations.flatMap(({ id, spec }) => {
      const schema = spec.requestBody?.content['application/json']?.schema
      if (schema === undefined) return []
      const { example } = resolved(schema)
      return example === undefined || isValid(schema, example).length > 0 ? [id] : []
    })
    expect(wrong).toEqual([])
  })

  test('says what each parameter is for, and shows a value of it', () => {
    // A cursor is what an answer gave, and a key of one's own is any text: their descriptions say so.
    const free = new Set(['cursor', 'Idempotency-Key'])
    const wrong = operations.flatMap(({ id, spec }) =>
      (spec.parameters ?? []).flatMap((parameter) => {
        const schema = resolved(parameter.schema)
        const isDescribed = parameter.in === 'path' || ('description' in parameter && parameter.description !== '')
        return isDescribed && (free.has(parameter.name) || valuesOf(schema).length > 0)
          ? []
          : [`${id} ${parameter.name}`]
      }),
    )
    expect(wrong).toEqual([])
  })

  test('fills a form with nothing that narrows the answer: optional parameters have `examples`, not `example`', () => {
    const wrong = operations.flatMap(({ id, spec }) =>
      (spec.parameters ?? []).flatMap(({ name, required, schema }) =>
        (required === true) === 'example' in resolved(schema) ? [] : [`${id} ${name}`],
      ),
    )
    expect(wrong).toEqual([])
  })

  test('documents one success, with a schema unless it is empty', () => {
    expect(
      breaking(({ spec }) => {
        const successes = Object.entries(spec.responses).filter(([status]) => status.startsWith('2'))
        const [status, response] = successes[0] ?? []
        const [schema] = Object.values(response?.content ?? {}).map((content) => content.schema)
        return successes.length === 1 && (status === '204') === (schema === undefined)
      }),
    ).toEqual([])
  })

  test('shows of each error the body of every code it names', () => {
    const examples = (document['components'] as { examples: Record<string, { value: unknown }> }).examples
    const wrong = operations.flatMap(({ id, spec }) =>
      Object.entries(spec.responses).flatMap(([status, { description, content }]) => {
        const media = content?.['application/json'] as { schema: Schema; examples?: Record<string, { $ref: string }> }
        if (status < '400' || spec['x-access'] === 'open') return []
        const codes = description.split(', ')
        const isComplete = Object.keys(media.examples ?? {}).join(', ') === description
        const areTrue = codes.every((code) => isValid(media.schema, examples[code]?.value).length === 0)
        return isComplete && areTrue ? [] : [`${id} ${status}`]
      }),
    )
    expect(wrong).toEqual([])
  })
})

test('every example of a schema is valid', () => {
  const named = (document['components'] as { schemas: Record<string, { example?: unknown }> }).schemas
  const shown = Object.entries(named).filter(([, { example }]) => example !== undefined)
  expect(shown.length).toBeGreaterThan(20)
  const wrong = shown.flatMap(([name, { example }]) =>
    isValid({ $ref: `#/components/schemas/${name}` }, example).map((problem) => `${name}${problem}`),
  )
  expect(wrong).toEqual([])
})

test('the error codes are those of the table', () => {
  const { Error: schema } = (document['components'] as { schemas: Record<string, unknown> }).schemas
  const codes = (schema as { properties: { error: { properties: { code: { enum: string[] } } } } }).properties.error
  expect(codes.properties.code.enum).toEqual(Object.keys(errorTable))
})

describe('/docs', () => {
  const page = docsPage(openApiDocument())

  test('loads the files of this server that anybody may read, all of them, and nothing else', () => {
    const loaded = [...page.matchAll(/\b(?:src|href)="([^"?]*)/g)].map(([, path = '']) => path)
    expect(loaded.filter((path) => path !== 'data:,').sort()).toEqual(['/openapi.json', ...docsAssets.keys()].sort())
    expect(loaded.filter((path) => path !== 'data:,' && !openPaths.has(path))).toEqual([])
    expect(
      page.match(/https?:|<style|style=|<(img|iframe|object|form|base)\b|\bon\w+=|<script(?![^>]*\bsrc=)/gi),
    ).toBeNull()
  })

  test('escapes what the document holds', () => {
    const hostile = structuredClone(openApiDocument())
    hostile.info.title = '<script>alert(1)</script>'
    expect(docsPage(hostile)).not.toContain('<script>')
  })
})

function resolved(schema: Schema): Schema {
  const { $ref } = schema
  if (typeof $ref !== 'string') return schema
  return (document['components'] as { schemas: Record<string, Schema> }).schemas[$ref.split('/').at(-1) ?? ''] ?? {}
}

/** The values a parameter is shown with. */
function valuesOf({ example, examples, default: fallback, enum: values }: Schema): readonly unknown[] {
  return [example, fallback, ...((examples ?? values ?? []) as readonly unknown[])].filter(
    (value) => value !== undefined,
  )
}

function isPattern(source: string): boolean {
  try {
    return new RegExp(source, 'u').source !== ''
  } catch {
    return false
  }
}
