import { afterAll } from 'bun:test'
import { deletePostgresVariables } from './environment.ts'
import { startStores } from './stores.ts'

deletePostgresVariables()

if (process.env['TEST_STORES'] === undefined) {
  const { stop, ...stores } = await startStores()
  process.env['TEST_STORES'] = JSON.stringify(stores)
  afterAll(async () => {
    delete process.env['TEST_STORES']
    await stop()
  })
}
