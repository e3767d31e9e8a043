import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium, type ConsoleMessage, type Page } from 'playwright-core'
import { openApiDocument } from '#routes/index.ts'
import { testKeys } from '#test/support/app.ts'
import { findCommand } from '#test/support/debian.ts'
import { reportMissing } from '#test/support/environment.ts'
import { clientOf, type ServerProcess, startServer } from './server.ts'

const route = '/api/platform/databases'
// A machine under load takes its time to draw a page.
const patienceMs = 90_000

const executablePath =
  (await findCommand('chromium', 'chromium')) ??
  reportMissing('Chromium', 'as root on Debian, apt-get install chromium')

// It sends nothing by itself, and needs neither a GPU nor the rights a sandbox is made with.
const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

if (executablePath === null) test.skip('/docs in a browser needs Chromium', () => {})
else describe('/docs in a browser', () => inBrowser(executablePath))

function inBrowser(browserPath: string): void {
  const keys = testKeys()
  const operations = Object.values(openApiDocument().paths ?? {}).flatMap((item) =>
    Object.keys(item).filter((name) => name !== 'servers'),
  )
  const requested: string[] = []
  const complaints: string[] = []
  let folder = ''
  let server: ServerProcess
  let url = ''
  let browser: Browser
  let page: Page
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bun-api-docs-'))
    server = startServer({ env: { ...keys, DATA_DIR: folder, HOST: '127.0.0.1', EGRESS_ALLOW: '*' } })
    const launched = chromium.launch({ executablePath: browserPath, headless: true, args: flags })
    launched.catch(() => undefined)
    url = await server.url
    const body = {
      projectRef: 'default',
      name: 'shown-in-docs',
      type: 'redis',
      connectionString: 'redis://127.0.0.1/0',
    }
    const { status } = await clientOf(url, keys.BUN_API_KEY).request('POST', `${route}?skipTest=true`, body)
    expect(status).toBe(201)
    browser = await launched
    // A context of its own begins with nothing stored.
    page = await (await browser.newContext()).newPage()
    page.on('request', (request) => void requested.push(request.url()))
    page.on('console', (message) => isComplaint(message) && complaints.push(message.text()))
    page.on('pageerror', (error) => void complaints.push(String(error)))
    await page.goto(`${url}/docs`)
  }, 120_000)
  afterAll(async () => {
    await browser?.close()
    await server?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  test(
    'shows every operation',
    async () => {
      await page.locator('.opblock').first().waitFor()
      expect(await page.locator('.opblock').count()).toBe(operations.length)
      expect(await page.locator('.errors-wrapper').count()).toBe(0)
      expect(await page.title()).toBe('Bun API')
    },
    patienceMs,
  )

  test(
    'lists the registered databases with the key, by "Authorize", "Try it out" and "Execute" alone',
    async () => {
      await page.getByRole('button', { name: 'Authorize' }).first().click()
      const scheme = page.locator('.auth-container').filter({ hasText: 'Bearer' })
      await scheme.locator('input').fill(keys.BUN_API_KEY)
      await scheme.getByRole('button', { name: 'Apply credentials' }).click()
      await page.getByRole('button', { name: 'Close' }).first().click()

      const operation = page.locator('#operations-databases-DatabasesController_list')
      await operation.locator('.opblock-summary-control').click()
      await operation.getByRole('button', { name: 'Try it out' }).click()
      const answered = page.waitForResponse((response) => response.url().startsWith(`${url}${route}`))
      await operation.getByRole('button', { name: 'Execute' }).click()
      expect((await answered).status()).toBe(200)
      const shown = operation.locator('.live-responses-table')
      await shown.getByText('shown-in-docs').waitFor()
      expect((await shown.locator('.response-col_status').last().innerText()).trim()).toBe('200')
      // What fills the form does not narrow the answer.
      expect(requested.at(-1)).toBe(`${url}${route}?limit=100`)
    },
    patienceMs,
  )

  test(
    'keeps the key in its memory alone, and shows no other document, whatever the link says',
    async () => {
      const stored = await page.evaluate(
        'JSON.stringify([localStorage, sessionStorage, document.cookie, location.href, history.state])',
      )
      expect(`${stored} ${requested.join(' ')}`).not.toContain(keys.BUN_API_KEY)
      const foreign = 'https://example.com'
      await page.goto(`${url}/docs?url=${foreign}/openapi.json&configUrl=${foreign}/config.json`)
      await page.locator('.opblock').first().waitFor()
      expect(await page.locator('.info .title').innerText()).toContain('Bun API')
      expect(await page.locator('.auth-wrapper .authorize.locked').count()).toBe(0)
      expect(await page.locator('.auth-wrapper .authorize.unlocked').count()).toBe(1)
    },
    patienceMs,
  )

  test(
    'sent no request to anywhere else, and broke its policy nowhere',
    () => {
      expect(requested.length).toBeGreaterThan(6)
      expect(requested.filter((address) => new URL(address).origin !== url)).toEqual([])
      expect(complaints).toEqual([])
    },
    patienceMs,
  )

  test(
    'points to the document where no script runs',
    async () => {
      const context = await browser.newContext({ javaScriptEnabled: false })
      const plain = await context.newPage()
      await plain.goto(`${url}/docs`)
      expect(await plain.getByRole('link').getAttribute('href')).toBe('/openapi.json')
      await context.close()
    },
    patienceMs,
  )
}

// Of itself the library says only that links of an older form will not work in a later version.
function isComplaint(message: ConsoleMessage): boolean {
  return message.type() === 'error' && !message.text().startsWith('Deprecated: escaping deep link whitespace')
}
