import { afterAll, beforeAll, expect, test } from 'bun:test'
import { newName, path } from '#test/registry/registries.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'

// Appendix A; how each string is parsed is tested beside the parser, this is what a caller sees of it.
const examples = [
  ['postgres', 'postgresql://postgres:password@postgres.railway.internal:5432/database'],
  ['postgres', 'postgresql://postgres:password@roundhouse.proxy.rlwy.net:12345/database'],
  ['postgres', 'postgresql://postgres:password@db.project.supabase.co:5432/postgres'],
  ['redis', 'redis://default:password@redis.railway.internal:6379'],
  ['redis', 'redis://default:password@redis-production.up.railway.app:6379'],
  ['redis', 'redis://:password@redis-12345.rediscloud.com:12345'],
  ['redis', 'rediss://:password@redis-12345.rediscloud.com:12345'],
  ['mongodb', 'mongodb://username:password@mongodb.railway.internal:27017/database'],
  ['mongodb', 'mongodb://username:password@mongodb-production.up.railway.app:27017/database'],
  ['mongodb', 'mongodb+srv://username:password@cluster.mongodb.net/database'],
  ['mongodb', 'mongodb://user:pass@host1:27017,host2:27017,host3:27017/db?replicaSet=rs0'],
  ['bun_api', 'http://bun-api.railway.internal:3000'],
] as const

const asked: string[] = []
let app: TestApp
beforeAll(async () => {
  const nowhere = async (name: string) => {
    asked.push(name)
    throw Object.assign(new Error('not found'), { code: 'ENOTFOUND' })
  }
  app = await createTestApp({ overrides: { resolve: nowhere, srv: { srv: nowhere, txt: nowhere } } })
})
afterAll(() => app?.[Symbol.asyncDispose]())

for (const [type, connectionString] of examples) {
  test(`201 and then a dial: ${connectionString}`, async () => {
    const body = { projectRef: 'default', name: newName(), type, connectionString }
    const created = await app.request('POST', `${path}?skipTest=true`, { body })
    const { hostname, username, port } = new URL(connectionString.replace(/,.*(?=\/)/, ''))
    expect(created.status).toBe(201)
    expect(created.body).toMatchObject({
      type,
      host: hostname,
      username: username || null,
      ...(port === '' ? {} : { port: Number(port) }),
      has_credentials: type !== 'bun_api',
      connection_string: expect.stringContaining(`@${hostname}`.slice(type === 'bun_api' ? 1 : 0)),
    })
    expect(created.text).not.toMatch(/:(password|pass)@/)
    asked.length = 0
    const tested = await app.request('POST', `${path}/${created.body.id}/test`)
    expect(tested.body).toMatchObject({
      ok: false,
      error: { code: 'DB_CONNECTION_FAILED', details: { reason: 'dns' } },
    })
    expect(asked.join()).toContain(hostname)
  })
}
