import { type Config, ConfigError } from './config.ts'
import { ApiError, codeOf } from './errors.ts'

/** sysexits.h EX_CONFIG: the environment must be mended before a restart can help. */
const configurationExit = 78

/** Why the server could not start, as one line without secrets, and the exit code that says whether a restart may help. */
export function startFailure(error: unknown): { readonly line: string; readonly exitCode: number } {
  const text = error instanceof Error ? error.message : 'The server could not start.'
  const cause = error instanceof Error ? error.cause : undefined
  const reason = cause instanceof ApiError ? cause.message : codeOf(cause)
  const line = `bun-api: ${text}${reason === undefined ? '' : ` Cause: ${reason}`}`
  return {
    line: line.replaceAll('\n', ' ').replace(/:\/\/[^@\s]*@/g, '://****@'),
    exitCode: error instanceof ConfigError ? configurationExit : 1,
  }
}

/** Why a port can not be listened on. */
export function portTaken({ PORT, hostname }: Pick<Config, 'PORT' | 'hostname'>, cause: unknown): Error {
  const code = codeOf(cause)
  const reason = code === 'EADDRINUSE' ? 'is in use' : `can't be listened on${code === undefined ? '' : ` (${code})`}`
  return new Error(`Port ${PORT} on ${hostname} ${reason}: set PORT or HOST.`)
}
