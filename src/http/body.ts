import type { Context, MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { ApiError } from '../errors.ts'
import type { Env } from './env.ts'

const registryPaths = /^\/api\/platform\/(databases|organizations|projects)(\/|$)/
const counters = new Map<number, MiddlewareHandler>()

/** The whole body, `undefined` where there is none; `PAYLOAD_TOO_LARGE` above the route's limit, counted while it arrives. */
export function readBody(c: Context<Env>): undefined | Promise<ArrayBuffer | undefined> {
  const { raw } = c.req
  const { MAX_REGISTRY_BODY_BYTES, MAX_ENGINE_BODY_BYTES } = c.env.deps.config
  const maxBytes = registryPaths.test(c.req.path) ? MAX_REGISTRY_BODY_BYTES : MAX_ENGINE_BODY_BYTES
  const length = raw.headers.get('content-length')
  if (length !== null && !raw.headers.has('transfer-encoding')) {
    if (Number(length) > maxBytes) throw tooLarge(maxBytes)
    return length === '0' ? undefined : raw.arrayBuffer().then(unlessEmpty)
  }
  return raw.body === null ? undefined : countBody(c, maxBytes)
}

function unlessEmpty(bytes: ArrayBuffer): ArrayBuffer | undefined {
  return bytes.byteLength === 0 ? undefined : bytes
}

async function countBody(c: Context<Env>, maxBytes: number): Promise<ArrayBuffer> {
  await counterOf(maxBytes)(c, async () => undefined)
  return await c.req.raw.arrayBuffer()
}

const json = /^application\/([\w.-]+\+)?json\s*(;|$)/i

/** Throws `UNSUPPORTED_MEDIA_TYPE` unless a body says that it is JSON. */
export function assertJson(mediaType: string | undefined, hasBody: boolean): void {
  if (mediaType ? json.test(mediaType) : !hasBody) return
  throw new ApiError('UNSUPPORTED_MEDIA_TYPE', 'Send the body as Content-Type: application/json.')
}

function counterOf(maxSize: number): MiddlewareHandler {
  const known = counters.get(maxSize)
  if (known) return known
  const onError = () => {
    throw tooLarge(maxSize)
  }
  const counter = bodyLimit({ maxSize, onError })
  counters.set(maxSize, counter)
  return counter
}

function tooLarge(maxBytes: number): ApiError {
  return new ApiError('PAYLOAD_TOO_LARGE', `The body is larger than ${maxBytes} bytes, the most this route takes.`)
}
