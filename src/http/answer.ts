import type { RequestState } from './request-state.ts'

/**
 * Headers of every answer (OWASP REST Security Cheat Sheet, "Security Headers"): nothing is stored, framed, sniffed or run. Who may read
 * an answer is for CORS to say.
 */
export const answerHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=15552000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'SAMEORIGIN',
} as const

// Copied as a whole into each answer, which costs a fraction of setting them one by one.
const jsonHeaders = new Headers({ 'content-type': 'application/json', ...answerHeaders })

/** Headers of one answer beside those all have. */
export type AnswerHeaders = Readonly<Record<string, string>>

const keptHeaders = new WeakMap<AnswerHeaders, Headers>()

/** An answer that was made before, whose own headers are always the same object. */
export function answerKept(state: RequestState, json: string, own: AnswerHeaders): Response {
  let headers = keptHeaders.get(own)
  if (headers === undefined)
    keptHeaders.set(own, (headers = new Headers({ ...Object.fromEntries(jsonHeaders), ...own })))
  headers.set('x-request-id', state.requestId)
  state.answered = true
  return new Response(json, { status: 200, headers })
}

/** A JSON answer with the headers all answers have, and its own. */
export function answer(state: RequestState, json: string, status: number, headers?: AnswerHeaders): Response {
  jsonHeaders.set('x-request-id', state.requestId)
  state.answered = true
  const response = new Response(json, { status, headers: jsonHeaders })
  if (headers) for (const name in headers) response.headers.set(name, headers[name] ?? '')
  return response
}
