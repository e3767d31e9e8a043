import { createApp } from '#src/app.ts'
import { loadConfig, takeEnvironment } from '#src/config.ts'
import { createDeps } from '#src/deps.ts'

/** Registers a database per argument, uses each, and closes everything; ends only when nothing is left to wait for. */
const environment = takeEnvironment(process.env)
const config = loadConfig(environment)
const deps = await createDeps(config)
const app = createApp(deps)
const headers = { authorization: `Bearer ${config.BUN_API_KEY}`, 'content-type': 'application/json' }
const statuses: number[] = []
for (const [index, connectionString] of process.argv.slice(2).entries()) {
  const type = connectionString.slice(0, connectionString.indexOf(':')).replace('postgresql', 'postgres')
  const body = JSON.stringify({ projectRef: 'default', name: `db-${index}`, type, connectionString })
  const created = await app.request('/api/platform/databases?skipTest=true', { method: 'POST', headers, body })
  const { id } = (await created.json()) as { id: string }
  const used = await app.request(`/api/platform/databases/${id}/info`, { headers })
  statuses.push(used.status)
}
await deps[Symbol.asyncDispose]()
console.log(JSON.stringify({ statuses, ...deps.connections.metrics() }))
