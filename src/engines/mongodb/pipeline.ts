import { invalid } from '../../errors.ts'
import type { BSON } from './driver.ts'
import { fromEjson } from './ejson-input.ts'
import { maxStages } from './options.ts'

/** Stages that `readPipeline` has found to read and nothing else. */
export interface Pipeline {
  readonly stages: readonly BSON.Document[]
}

const maxDepth = 100

// An unknown stage may do anything, so what is not named here is refused.
const readStages: ReadonlySet<string> = new Set([
  '$addFields',
  '$bucket',
  '$bucketAuto',
  '$collStats',
  '$count',
  '$densify',
  '$documents',
  '$facet',
  '$fill',
  '$geoNear',
  '$graphLookup',
  '$group',
  '$indexStats',
  '$limit',
  '$listSearchIndexes',
  '$lookup',
  '$match',
  '$project',
  '$redact',
  '$replaceRoot',
  '$replaceWith',
  '$sample',
  '$search',
  '$searchMeta',
  '$set',
  '$setWindowFields',
  '$skip',
  '$sort',
  '$sortByCount',
  '$unionWith',
  '$unset',
  '$unwind',
  '$vectorSearch',
])

const pipelineFields: ReadonlySet<string> = new Set(['$lookup.pipeline', '$unionWith.pipeline'])
const collectionFields: ReadonlySet<string> = new Set(['$lookup.from', '$graphLookup.from', '$unionWith.coll'])

const refused: ReadonlyMap<string, string> = new Map([
  ...['$out', '$merge'].map((name) => [name, 'writes'] as const),
  ...['$where', '$function', '$accumulator'].map((name) => [name, 'runs JavaScript on the server'] as const),
  ...['$currentOp', '$listLocalSessions', '$listSessions'].map((name) => [name, 'shows what others run'] as const),
  ['$changeStream', 'never ends'],
])

/**
 * Extended JSON as a pipeline that reads: known stages alone, at every depth of sub-pipelines, without JavaScript, of collections of the
 * same database. Throws `VALIDATION_FAILED` naming the place, which begins with `pipeline`.
 */
export function readPipeline(json: readonly unknown[]): Pipeline {
  checkStages(json, 'pipeline', 0)
  return { stages: json.map((stage, index) => fromEjson(stage, `pipeline.${index}`) as BSON.Document) }
}

function checkStages(json: unknown, path: string, depth: number): void {
  if (!Array.isArray(json)) throw invalid(path, 'must be an array of stages')
  if (json.length > maxStages) throw invalid(path, `must not have more than ${maxStages} stages`)
  for (const [index, stage] of json.entries()) checkStage(stage, `${path}.${index}`, depth + 1)
}

function checkStage(stage: unknown, path: string, depth: number): void {
  const [entry, ...others] = isObject(stage) ? Object.entries(stage) : []
  if (entry === undefined || others.length > 0) throw invalid(path, 'must be an object with one key, its stage')
  const [name, operand] = entry
  checkKey(name, path)
  if (!readStages.has(name)) throw invalid(path, `must not use ${shown(name)}: it is none of the stages that read`)
  if (name === '$unionWith' && !isObject(operand)) return checkCollection(operand, `${path}.$unionWith`)
  if (!isObject(operand)) return checkValue(operand, `${path}.${name}`, depth + 1)
  if (name === '$unionWith' && 'db' in operand)
    throw invalid(`${path}.$unionWith.db`, 'must not be given: one database is read')
  if (isLiteralOf(operand) && name !== '$facet') return
  for (const [key, value] of Object.entries(operand)) {
    const at = `${path}.${name}.${shown(key)}`
    checkKey(key, at)
    if (name === '$facet' || pipelineFields.has(`${name}.${key}`)) checkStages(value, at, depth + 2)
    else if (collectionFields.has(`${name}.${key}`)) checkCollection(value, at)
    else checkValue(value, at, depth + 2)
  }
}

// By keys alone, wherever they are: more than MongoDB would take for an operator, and never less.
function checkValue(value: unknown, path: string, depth: number): void {
  if (typeof value !== 'object' || value === null) return
  if (depth > maxDepth) throw invalid('pipeline', `must not be nested deeper than ${maxDepth} levels`)
  if (Array.isArray(value)) return value.forEach((item, index) => checkValue(item, `${path}.${index}`, depth + 1))
  if (isLiteralOf(value)) return
  for (const [key, inner] of Object.entries(value)) {
    checkKey(key, path)
    checkValue(inner, `${path}.${shown(key)}`, depth + 1)
  }
}

function checkKey(key: string, path: string): void {
  const reason = refused.get(key) ?? (key.startsWith('$_') ? 'is internal to MongoDB' : undefined)
  if (reason !== undefined) throw invalid(path, `must not use ${shown(key)}: it ${reason}`)
}

function checkCollection(value: unknown, path: string): void {
  if (typeof value !== 'string' || value === '' || /[$\0]/.test(value))
    throw invalid(path, 'must be the name of a collection of the same database')
}

// MongoDB takes what is inside for data; with another key beside it, it is no operator.
function isLiteralOf(value: object): boolean {
  return '$literal' in value && Object.keys(value).length === 1
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function shown(key: string): string {
  return key.slice(0, 64)
}
