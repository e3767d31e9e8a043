import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { path as databases } from '#test/registry/registries.ts'
import { type RoleRow, roleTable } from './role-table.ts'
import { bearer, idsOf, openWorld, type Site, type World } from './walk-world.ts'

const requestId = '01990000-0000-7000-8000-000000000000'
const engines: Readonly<Record<string, keyof Site['databases']>> = {
  redis: 'redis',
  postgres: 'postgres',
  mongodb: 'mongodb',
  'bun-api': 'bun_api',
}

let world: World
let outsiders: Readonly<Record<string, Readonly<Record<string, string>>>>
beforeAll(async () => {
  world = await openWorld()
  const { sites, key, grant, token } = world
  const { ref } = sites.granted
  const [admin, some, none] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()]
  await grant(admin, 'admin', 'project')
  await grant(some, 'admin', 'granted')
  outsiders = {
    'a key of the project': bearer((await key({ role: 'admin', ref })).secret),
    'a key of some databases': bearer((await key({ role: 'admin', ref, databaseIds: idsOf(sites.granted) })).secret),
    'a user of the project': bearer(await token(admin)),
    'a user of some databases': bearer(await token(some)),
    'a user without grants': bearer(await token(none)),
    'the service key for a user': {
      ...bearer(world.app.key),
      'x-forwarded-authorization': `Bearer ${await token(admin)}`,
    },
  }
})
afterAll(() => world?.[Symbol.asyncDispose]())

const placed = roleTable().filter(
  ({ scope, url }) => scope === 'database' || scope === 'project' || url.includes('/by-name/'),
)

function urlAt({ url }: RoleRow, { ref, databases: rows }: Site): string {
  const { id, name } = rows[engines[url.split('/')[3] ?? ''] ?? 'redis']
  const values: Readonly<Record<string, string>> = { databaseId: id, id, ref, projectRef: ref, name, userId: requestId }
  return url.replaceAll(/\{(\w+)\}/g, (_, parameter: string) => values[parameter] ?? '')
}

/** All that a caller sees but how much of its budget is left. */
async function answerTo(row: RoleRow, site: Site, headers: Readonly<Record<string, string>>) {
  const answer = await world.app.request(row.method, urlAt(row, site), {
    key: null,
    headers: { ...headers, 'x-request-id': requestId },
    ...(row.method === 'GET' || row.method === 'DELETE' ? {} : { body: {} }),
  })
  const seen = [...answer.headers].map(([name, value]) => `${name}: ${value.replace(/;r=\d+;t=\d+/, '')}`)
  return { status: answer.status, text: answer.text, headers: seen }
}

describe('another project’s database or project', () => {
  for (const row of placed) {
    test(`${row.method} ${row.url} answers as for one that is not there`, async () => {
      for (const headers of Object.values(outsiders)) {
        const foreign = await answerTo(row, world.sites.foreign, headers)
        expect(foreign).toEqual(await answerTo(row, world.sites.unknown, headers))
        expect(foreign.status).toBe(404)
      }
    })
  }

  const timed = [
    'GET /api/platform/redis/{databaseId}/keys',
    'GET /api/platform/postgres/{databaseId}/tables',
    'GET /api/platform/mongodb/{databaseId}/collections',
    'GET /api/platform/bun-api/{databaseId}/info',
    'GET /api/platform/databases/{id}',
    'GET /api/platform/databases/by-name/{projectRef}/{name}',
    'GET /api/platform/projects/{ref}',
  ]
  for (const name of timed) {
    test(`${name} takes as long as for one that is not there`, async () => {
      const row = placed.find(({ method, url }) => `${method} ${url}` === name)
      const headers = outsiders['a key of the project'] ?? {}
      if (row === undefined) throw new Error(`there is no ${name}`)
      const foreign: number[] = []
      const unknown: number[] = []
      const timeOf = async (site: Site) => {
        const began = performance.now()
        await answerTo(row, site, headers)
        return performance.now() - began
      }
      // In turns, each first as often as the other: what else the machine does meets both.
      for (let turn = 0; turn < 200; turn++) {
        const isFirst = turn % 2 === 0
        if (isFirst) foreign.push(await timeOf(world.sites.foreign))
        unknown.push(await timeOf(world.sites.unknown))
        if (!isFirst) foreign.push(await timeOf(world.sites.foreign))
      }
      const medians = { foreign: median(foreign), unknown: median(unknown) }
      const apart = Math.abs(medians.foreign - medians.unknown)
      console.info(`${name}: ${medians.foreign.toFixed(3)} ms, unknown ${medians.unknown.toFixed(3)} ms`)
      expect({ ...medians, alike: apart < 0.3 || apart < 0.2 * medians.unknown }).toEqual({ ...medians, alike: true })
    })
  }

  test('404 a ref that no project can have, to who is not the operator', async () => {
    const headers = outsiders['a user of the project'] ?? {}
    const refs = ['%00', 'a%2Fb', '%FF', 'x'.repeat(65), 'a.b']
    const seen = refs.map((ref) => world.app.request('GET', `/api/platform/projects/${ref}`, { key: null, headers }))
    expect((await Promise.all(seen)).map(({ status }) => status)).toEqual(refs.map(() => 404))
  })
})

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? Number.NaN
}

describe('lists, counts and names show a caller its own alone', () => {
  const read = async (url: string, headers: Readonly<Record<string, string>>) =>
    (await world.app.request('GET', url, { key: null, headers })).body

  test('as the service key they show all', async () => {
    expect(await shownTo(bearer(world.app.key))).toEqual({ databases: 12, projects: 2, organizations: 2, counted: 12 })
  })

  const shown = {
    'a key of the project': { databases: 8, projects: 1, organizations: 1, counted: 8 },
    'a key of some databases': { databases: 4, projects: 1, organizations: 1, counted: 4 },
    'a user of the project': { databases: 8, projects: 1, organizations: 1, counted: 8 },
    'a user of some databases': { databases: 4, projects: 1, organizations: 1, counted: 4 },
    'a user without grants': { databases: 0, projects: 0, organizations: 0, counted: 0 },
    'the service key for a user': { databases: 8, projects: 1, organizations: 1, counted: 8 },
  } as const
  for (const [name, own] of Object.entries(shown)) {
    test(name, async () => {
      const headers = outsiders[name] ?? {}
      // The operator's answer, which is kept for its URL, is not shown to others.
      await shownTo(bearer(world.app.key))
      expect(await shownTo(headers)).toEqual(own)
      const foreign = await read(`${databases}?projectRef=${world.sites.foreign.ref}`, headers)
      const keys = await world.app.request('GET', '/api/platform/api-keys?limit=1000', { key: null, headers })
      const refs = new Set((keys.body as readonly { project_ref: string }[]).map(({ project_ref }) => project_ref))
      refs.delete(world.sites.granted.ref)
      expect([foreign, [...refs]]).toEqual([[], []])
    })
  }

  /** How many there are that the test made. */
  async function shownTo(headers: Readonly<Record<string, string>>) {
    const [rows, projects, organizations, stats] = await Promise.all([
      read(`${databases}?limit=1000`, headers),
      read('/api/platform/projects?limit=1000', headers),
      read('/api/platform/organizations?limit=1000', headers),
      read(`${databases}/stats`, headers),
    ])
    const counted = (stats as readonly { total: number }[]).reduce((sum, { total }) => sum + total, 0)
    const made = (all: readonly { slug: string }[]) => all.filter(({ slug }) => slug !== 'default').length
    return { databases: rows.length, projects: made(projects), organizations: made(organizations), counted }
  }
})
