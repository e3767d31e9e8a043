// @ts-nocheck: the types are made by studio-types.test.ts, which checks a copy of this folder without these lines.
import createClient from 'openapi-fetch'
import type { paths } from 'api-types'

export class ResponseError extends Error {
  readonly code: number | undefined
  readonly requestId: string | undefined

  constructor(message: string | undefined, code?: number, requestId?: string) {
    super(message ?? 'API error happened while trying to communicate with the server.')
    this.code = code
    this.requestId = requestId
  }
}

const client = createClient<paths>({
  baseUrl: (process.env['API_URL'] ?? '').replace('/platform', ''),
  referrerPolicy: 'no-referrer-when-downgrade',
  headers: { Accept: 'application/json' },
  credentials: 'include',
  querySerializer: { array: { style: 'form', explode: false } },
})

client.use(
  {
    onRequest({ request }) {
      request.headers.set('X-Request-Id', crypto.randomUUID())
      return request
    },
  },
  {
    async onResponse({ request, response }) {
      if (response.ok) return response
      const body = await response.clone().json()
      body.code = response.status
      body.requestId = request.headers.get('X-Request-Id')
      return new Response(JSON.stringify(body), response)
    },
  },
)

export const { GET: get, POST: post, PATCH: patch, DELETE: del } = client

export function handleError(error: unknown): never {
  const { message, code, requestId } = error as { message?: string; code?: number; requestId?: string }
  throw new ResponseError(message, code, requestId)
}
