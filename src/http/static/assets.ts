import { resolve } from 'node:path'
import type { Context } from 'hono'
import libraryScript from 'swagger-ui-dist/swagger-ui-bundle.js' with { type: 'file' }
import libraryStyle from 'swagger-ui-dist/swagger-ui.css' with { type: 'file' }
import library from 'swagger-ui-dist/package.json' with { type: 'json' }
import pageStyle from './docs.css' with { type: 'file' }
import pageScript from './docs-init.js' with { type: 'file' }
import type { Env } from '../env.ts'

interface Asset {
  /** Absolute, or as the bundler writes it: relative to the bundle. */
  readonly file: string
  readonly mediaType: string
}

const script = 'text/javascript; charset=utf-8'
const style = 'text/css; charset=utf-8'

/** What `/docs` loads, by its path on this server; read from disk when it is asked for. */
export const docsAssets: ReadonlyMap<string, Asset> = new Map([
  ['/docs/swagger-ui-bundle.js', { file: libraryScript, mediaType: script }],
  ['/docs/swagger-ui.css', { file: libraryStyle, mediaType: style }],
  ['/docs/docs-init.js', { file: pageScript, mediaType: script }],
  ['/docs/docs.css', { file: pageStyle, mediaType: style }],
])

/** With `?v=` of this an answer may be cached for ever; without it, or with another, never. */
export const libraryVersion: string = library.version

const gzipped = new Map<string, Promise<ArrayBuffer>>()

/** Answers a file of the map, compressed once per process for clients that take gzip. */
export async function serveAsset(c: Context<Env>, { file, mediaType }: Asset): Promise<Response> {
  const path = resolve(import.meta.dir, file)
  const takesGzip = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?(?:,|$))/i.test(c.req.header('accept-encoding') ?? '')
  // By the context, which adds the request's id.
  return c.body(takesGzip ? await compressed(path) : Bun.file(path).stream(), 200, {
    'content-type': mediaType,
    vary: 'accept-encoding',
    ...(takesGzip ? { 'content-encoding': 'gzip' } : {}),
    ...(c.req.query('v') === libraryVersion ? { 'cache-control': 'public, max-age=31536000, immutable' } : {}),
  })
}

// Anybody may ask, so the work is done once and off the event loop.
function compressed(path: string): Promise<ArrayBuffer> {
  const known = gzipped.get(path)
  if (known) return known
  const made = new Response(Bun.file(path).stream().pipeThrough(new CompressionStream('gzip'))).arrayBuffer()
  made.catch(() => gzipped.delete(path))
  gzipped.set(path, made)
  return made
}
