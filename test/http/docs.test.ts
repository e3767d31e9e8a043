import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { gunzipSync } from 'node:zlib'
import { createApp } from '#src/app.ts'
import { docsAssets } from '#src/http/static/assets.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'

const script = '/docs/swagger-ui-bundle.js'
let app: TestApp
beforeAll(async () => {
  app = await createTestApp()
}, 60_000)
afterAll(async () => app?.[Symbol.asyncDispose]())

const get = (path: string, headers: Readonly<Record<string, string>> = {}) =>
  app.request('GET', path, { key: null, headers })

async function rawGet(path: string, accepted: string) {
  const response = await createApp(app.deps).request(path, { headers: { 'accept-encoding': accepted } })
  return { headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) }
}

/** The files the page names, with their queries. */
async function loadedFiles(): Promise<readonly string[]> {
  const { text } = await get('/docs')
  return [...text.matchAll(/\b(?:src|href)="(\/docs\/[^"]+)"/g)].map(([, path = '']) => path)
}

describe('/docs', () => {
  test('is a page that may load its own files, talk to this server and nothing else', async () => {
    const { status, headers } = await get('/docs')
    expect({
      status,
      type: headers.get('content-type'),
      caching: headers.get('cache-control'),
      policy: headers.get('content-security-policy'),
    }).toEqual({
      status: 200,
      type: 'text/html; charset=UTF-8',
      caching: 'no-store',
      policy:
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    })
  })

  test('names four files, which answer without a key, whole, as what they are', async () => {
    const files = await Promise.all(
      (await loadedFiles()).map(async (named) => {
        const path = named.replace(/\?.*/, '')
        return { path, whole: await Bun.file(docsAssets.get(path)?.file ?? '').text(), ...(await get(named)) }
      }),
    )
    expect(
      files.map(({ path, whole, status, headers, text }) => ({
        path,
        status,
        type: headers.get('content-type'),
        sniffing: headers.get('x-content-type-options'),
        hasId: headers.has('x-request-id'),
        isWhole: text === whole && text.length > 20,
      })),
    ).toEqual(
      (
        [
          ['/docs/swagger-ui.css', 'text/css; charset=utf-8'],
          ['/docs/docs.css', 'text/css; charset=utf-8'],
          [script, 'text/javascript; charset=utf-8'],
          ['/docs/docs-init.js', 'text/javascript; charset=utf-8'],
        ] as const
      ).map(([path, type]) => ({ path, status: 200, type, sniffing: 'nosniff', hasId: true, isWhole: true })),
    )
  })

  test("lets the library's files be cached for ever under their version, and no others", async () => {
    const files = await loadedFiles()
    const asked = [...files, script, `${script}?v=`, `${script}?v=0.0.0`, '/docs/docs-init.js?v=1']
    const caching = await Promise.all(asked.map(async (path) => (await get(path)).headers.get('cache-control')))
    const library = files.filter((path) => /\/swagger-ui[^?]*\?v=\d+\.\d+\.\d+$/.test(path))
    expect(library.length).toBe(2)
    expect(caching).toEqual(
      asked.map((path) => (library.includes(path) ? 'public, max-age=31536000, immutable' : 'no-store')),
    )
  })

  test('sends files compressed to who takes gzip, and as they are to who does not', async () => {
    const plain = await get(script, { 'accept-encoding': 'identity' })
    expect(plain.headers.get('content-encoding')).toBeNull()
    for (const [accepted, isCompressed] of [
      ['gzip, deflate, br', true],
      ['br;q=1.0, gzip;q=0.8', true],
      ['gzip;q=0', false],
      ['br', false],
    ] as const) {
      const { bytes, headers } = await rawGet(script, accepted)
      expect({
        accepted,
        encoding: headers.get('content-encoding'),
        vary: headers.get('vary')?.toLowerCase(),
        isSmall: bytes.length < 700_000,
        isSame: (isCompressed ? gunzipSync(bytes) : bytes).toString() === plain.text,
      }).toEqual({
        accepted,
        encoding: isCompressed ? 'gzip' : null,
        vary: 'accept-encoding',
        isSmall: isCompressed,
        isSame: true,
      })
    }
  })

  for (const path of [
    '/docs/',
    '/docs/index.html',
    '/docs/..%2fpackage.json',
    '/docs/swagger-ui-bundle.js.map',
    '/Docs',
  ]) {
    test(`401 ${path} without a key: only exact paths are open`, async () => {
      expect((await get(path)).status).toBe(401)
    })
  }

  test('405 anything but reading, and HEAD has no body', async () => {
    const { status, headers } = await app.request('POST', script)
    expect({ status, allow: headers.get('allow') }).toEqual({ status: 405, allow: 'GET, HEAD' })
    const head = await app.request('HEAD', script, { key: null })
    expect([head.status, head.text]).toEqual([200, ''])
  })
})
