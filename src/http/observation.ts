import type { Log } from '../log.ts'
import type { RequestState } from './request-state.ts'

/** What is known of a request once it is answered, named as it is logged: the one place where audit and metrics are fed as well. */
export type Observation = {
  readonly request_id: string
  readonly method: string
  /** The route's pattern, never the URL: queries hold keys and filters. */
  readonly route: string
  readonly status: number
  readonly ms: number
  readonly access: string | undefined
  readonly operation: string | undefined
  readonly database_id: string | undefined
  readonly code: string | undefined
}

export type Observer = (observation: Observation) => void

/** What is to be told of a request that is answered now. */
export function observationOf(state: RequestState, status: number): Observation {
  return {
    request_id: state.requestId,
    method: state.request.method,
    route: state.pattern,
    status,
    ms: Math.round((performance.now() - state.started) * 100) / 100,
    access: state.declaration?.access,
    operation: state.declaration?.operation,
    database_id: state.databaseId,
    code: state.errorCode,
  }
}

/** One wide log line per request. */
export function logObserver(log: Log): Observer {
  return function logRequest(seen) {
    log.infoText('request', textOf(seen))
  }
}

// By hand, for none of these needs an escape: ids are checked, codes and patterns our own, and a method is a token of RFC 9110.
function textOf(seen: Observation): string {
  let text = `"request_id":"${seen.request_id}","method":"${seen.method}","route":"${seen.route}","status":${seen.status},"ms":${seen.ms}`
  if (seen.access !== undefined) text += `,"access":"${seen.access}","operation":"${seen.operation}"`
  if (seen.database_id !== undefined) text += `,"database_id":"${seen.database_id}"`
  if (seen.code !== undefined) text += `,"code":"${seen.code}"`
  return text
}
