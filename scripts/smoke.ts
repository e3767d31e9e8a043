import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { type Client, createClient, expectEqual, type Json, type Server } from './smoke/client.ts'
import { reads, type Type, types } from './smoke/reads.ts'

/**
 * Registers a database of each type, tests it, reads from it and deletes it, and prints every request with its answer, secrets as `****`.
 * Alone it starts real stores and servers. With `--url` it asks a running server, whose key is `--key` or `BUN_API_KEY`; `--redis`,
 * `--postgres`, `--mongodb` and `--bun-api` are connection strings that server can reach. A type without one is read where the server
 * registered it at its start (REDIS_URL, MONGODB_URL), else skipped. Exits 1 at the first answer that is not as promised.
 */
const api = '/api/platform'
const { values: given } = parseArgs({
  options: {
    url: { type: 'string' },
    key: { type: 'string' },
    redis: { type: 'string' },
    postgres: { type: 'string' },
    mongodb: { type: 'string' },
    'bun-api': { type: 'string' },
  },
})
const { redis, postgres, mongodb, 'bun-api': bunApi } = given
const strings = { redis, postgres, mongodb, bun_api: bunApi }
const options: Readonly<Record<Type, string>> = {
  redis: '--redis redis://…',
  postgres: '--postgres postgresql://…',
  mongodb: '--mongodb mongodb://…',
  bun_api: '--bun-api http://:KEY@…',
}
const standing: Readonly<Partial<Record<Type, string>>> = { redis: 'redis', mongodb: 'mongodb' }
const skipped: Type[] = []
let client: Client | undefined

try {
  await using cleanup = new AsyncDisposableStack()
  const { server, targets } = await choose(cleanup)
  client = createClient(server)
  await run(client, targets, cleanup)
  console.log(`\n${client.requests} requests ok${skipped.length > 0 ? `, skipped: ${skipped.join(', ')}` : ''}`)
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  console.log(client === undefined ? `\n${message}` : `\nfailed at request ${client.requests}: ${client.mask(message)}`)
  process.exitCode = 1
}

async function choose(
  cleanup: AsyncDisposableStack,
): Promise<{ readonly server: Server; readonly targets: Readonly<Partial<Record<Type, string | undefined>>> }> {
  if (given.url !== undefined) {
    const server = { url: given.url.replace(/\/+$/, ''), key: given.key ?? process.env['BUN_API_KEY'] ?? '' }
    return { server, targets: strings }
  }
  const { startAll } = await import('./smoke/unattended.ts').catch(() => {
    throw new Error('Stores can only be started in the repository: give --url, and --key or BUN_API_KEY.')
  })
  const { server, targets } = await startAll(cleanup)
  const chosen = Object.entries(strings).filter(([, value]) => value !== undefined)
  return { server, targets: { ...targets, ...Object.fromEntries(chosen) } }
}

async function run(
  client: Client,
  targets: Readonly<Partial<Record<Type, string | undefined>>>,
  cleanup: AsyncDisposableStack,
): Promise<void> {
  const name = `smoke-${randomBytes(3).toString('hex')}`
  await client.send('GET', '/health', 200)
  await client.send('GET', '/health/ready', 200)
  await client.send('GET', '/info', 200)
  const own: string[] = []
  for (const type of types) {
    const target = targets[type]
    const row = target === undefined ? await findStanding(client, type) : await register(type, target)
    if (row === undefined) {
      console.log(`\n${type} is skipped: ${options[type]} tries it`)
      skipped.push(type)
      continue
    }
    const id = String(row['id'])
    await client.send('POST', `${api}/databases/${id}/test`, 200)
    await client.send('GET', `${api}/databases/${id}/info`, 200)
    const databaseName = typeof row['database_name'] === 'string' ? row['database_name'] : undefined
    const path = `${api}/${type.replace('_', '-')}/${id}`
    await reads[type](client, { path, name, databaseName, writable: target !== undefined })
  }
  for (const id of own) {
    await client.send('DELETE', `${api}/databases/${id}`, 204)
    await client.send('GET', `${api}/databases/${id}`, 404)
  }

  async function register(type: Type, connectionString: string): Promise<Json> {
    client.hidePassword(connectionString)
    const { ok } = await client.send('POST', `${api}/databases/test`, 200, { type, connectionString })
    expectEqual('ok', ok, true)
    const body = { projectRef: 'default', name: `${name}-${type.replace('_', '-')}`, type, connectionString }
    const row = await client.send('POST', `${api}/databases`, 201, body)
    const id = String(row['id'])
    own.push(id)
    // Also after a failure: nothing is left of it on a running server.
    cleanup.defer(() => client.sendQuietly('DELETE', `${api}/databases/${id}`))
    return row
  }
}

/** What the server registered from its own environment. */
async function findStanding({ sendAny }: Client, type: Type): Promise<Json | undefined> {
  const name = standing[type]
  if (name === undefined) return undefined
  const { status, body } = await sendAny('GET', `${api}/databases/by-name/default/${name}`, [200, 404])
  return status === 200 && body['type'] === type ? body : undefined
}
