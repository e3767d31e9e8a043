import { ApiError } from '../../../errors.ts'
import type { Call } from '../../engine.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import type { CommandTable } from '../run/command-table.ts'
import type { Commands } from '../commands.ts'

// What TYPE calls the types of modules; each module's documentation has them.
const modulesByType: ReadonlyMap<string, string> = new Map([
  ['ReJSON-RL', 'RedisJSON'],
  ['TSDB-TYPE', 'RedisTimeSeries'],
  ['MBbloom--', 'RedisBloom'],
  ['MBbloomCF', 'RedisBloom'],
  ['CMSk-TYPE', 'RedisBloom'],
  ['TopK-TYPE', 'RedisBloom'],
  ['TDIS-TYPE', 'RedisBloom'],
  ['graphdata', 'RedisGraph'],
])

/** Why a value of this type is not shown, as a sentence. */
export function noteOnType(type: string): string {
  const module = modulesByType.get(type)
  const named = module === undefined ? `the type ${type}` : `the type ${type} of the module ${module}`
  return `The key holds ${named}: read it with the commands of that type.`
}

/** Throws `DB_UNSUPPORTED` where the server lacks a command of RedisJSON; a table that could not be had says nothing. */
export function requireJson(table: CommandTable | undefined, command: string): void {
  if (table === undefined || table.has(command)) return
  throw new ApiError(
    'DB_UNSUPPORTED',
    table.has('json.get')
      ? `The module RedisJSON of this server has no ${command.toUpperCase()}. A newer version has it.`
      : 'This needs the module RedisJSON, which the server does not have.',
    { details: { module: 'RedisJSON', command } },
  )
}

/**
 * Throws what a command failed with, or `DB_UNSUPPORTED` when the server has no command of that name that takes so many arguments, which
 * its arity tells (https://redis.io/docs/latest/commands/command/).
 */
export async function throwFailure(
  error: Error,
  commands: Commands,
  call: Call,
  [name, ...args]: BatchCommand,
): Promise<never> {
  const { code } = ((error instanceof ApiError && error.details) ?? {}) as { readonly code?: string }
  if (code !== 'ERR') throw error
  const [reply] = await commands.send(call, 'reads', ['command', 'info', name])
  const [info] = Array.isArray(reply) ? (reply as readonly Reply[]) : []
  const arity = Array.isArray(info) ? Number(info[1]) : Number.NaN
  const length = args.length + 1
  if (arity < 0 ? length >= -arity : length === arity) throw error
  throw new ApiError(
    'DB_UNSUPPORTED',
    `This server's version has no ${name.toUpperCase()} that does this. A newer version has it.`,
    { cause: error, details: { command: name } },
  )
}
