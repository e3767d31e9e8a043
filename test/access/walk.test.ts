import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { openApiDocument } from '#routes/index.ts'
import { allows, type Role } from '#src/access/principal.ts'
import { type EngineKind, engineKinds } from '#src/engines/index.ts'
import { placeOf } from '#src/http/router.ts'
import { listOperations } from '#test/contract/operations.ts'
import type { Answer } from '#test/support/app.ts'
import { type RoleRow, rolesPage, roleTable } from './role-table.ts'
import { type Caller, callersOf, idsOf, openWorld, type Place, places, type World } from './walk-world.ts'

/** How a request ends for who may not; everything else is `allowed`, whatever the route then says. */
type Outcome = '401' | '403' | '404' | 'allowed' | '500'

let world: World
let callers: readonly Caller[]
beforeAll(async () => {
  world = await openWorld()
  callers = await callersOf(world)
})
afterAll(() => world?.[Symbol.asyncDispose]())

describe('the table of routes and roles', () => {
  test('is of the same routes as the document', () => {
    const described = listOperations(openApiDocument() as never).map(({ id, method, url, spec }) =>
      [id, method.toUpperCase(), url, spec['x-access'], spec['x-operation']].join(' '),
    )
    const declared = roleTable().map((row) =>
      [row.operationId, row.method, row.url, row.access, row.operation].join(' '),
    )
    expect(declared.toSorted()).toEqual(described.toSorted())
  })

  test('is the one of docs/roles.md', async () => {
    expect(await Bun.file(join(import.meta.dir, '../../docs/roles.md')).text()).toBe(rolesPage())
  })

  test('a route without a place and not narrowed by its handler is the server’s', () => {
    expect([
      placeOf({ path: '/' }),
      placeOf({ path: '/things/{thingId}' }),
      placeOf({ path: '/{ref}/things' }),
    ]).toEqual([{ scope: 'server' }, { scope: 'server' }, { scope: 'project', parameter: 'ref' }])
  })
})

const absent: ReadonlySet<string> = new Set(['There is no project with this ref.', 'There is no API key with this id.'])

function outcomeOf({ status, body }: Answer): Outcome {
  const { code, message } = body?.error ?? {}
  if (status === 401) return '401'
  if (status === 403 && code === 'FORBIDDEN') return '403'
  if (status === 404 && (code === 'DB_NOT_FOUND' || absent.has(message))) return '404'
  return code === 'INTERNAL' ? '500' : 'allowed'
}

function of(role: Role | undefined, needed: Role): Outcome {
  if (role === undefined) return '404'
  return allows(role, needed) ? 'allowed' : '403'
}

/** Routes whose handlers narrow: what each caller may, whoever wrote the handler. */
const narrowed: Readonly<Record<string, (caller: Caller, place: Place) => Outcome>> = {
  DatabasesController_list: () => 'allowed',
  DatabasesController_stats: () => 'allowed',
  ProjectsController_list: () => 'allowed',
  OrganizationsController_list: () => 'allowed',
  ApiKeysController_list: () => 'allowed',
  DatabasesController_getByName: ({ holds }, place) => of(holds[place], 'read'),
  DatabasesController_create: ({ holdsProject }, place) => of(holdsProject[place], 'admin'),
  DatabasesController_testUnsaved: ({ kind, holdsProject }) =>
    kind === 'key' || Object.values(holdsProject).includes('admin') ? 'allowed' : '403',
  ApiKeysController_create: mayManageKey,
  ApiKeysController_revoke: mayManageKey,
}

/** The key is one of the place's databases alone. */
function mayManageKey({ kind, holds, holdsProject }: Caller, place: Place): Outcome {
  return (kind === 'key' ? holds : holdsProject)[place] === 'admin' ? 'allowed' : '404'
}

function expected(caller: Caller, row: RoleRow, place: Place): Outcome {
  const { access, scope, operationId } = row
  if (access === 'open') return 'allowed'
  if (caller.kind === 'refused') return '401'
  if (caller.kind === 'service') return 'allowed'
  switch (scope) {
    case 'server':
      return '403'
    case 'database':
      return of(caller.holds[place], access)
    case 'project':
      return of(caller.holdsProject[place], access)
    default: {
      if (caller.kind === 'key' && !Object.values(caller.holds).some((role) => allows(role, access))) return '403'
      const rule = narrowed[operationId]
      if (rule === undefined) throw new Error(`${operationId} is narrowed by its handler: say here to what`)
      return rule(caller, place)
    }
  }
}

/** Bodies of routes whose handlers decide after they have read one; others get one that is refused. */
const bodies: Readonly<Record<string, (place: Place) => unknown>> = {
  DatabasesController_create: (place) => {
    const { ref, databases } = world.sites[place]
    const connectionString = 'redis://store.test'
    return { projectRef: ref, name: databases.redis.name, type: 'redis', connectionString }
  },
  DatabasesController_testUnsaved: () => ({ type: 'redis', connectionString: 'redis://127.0.0.1:6379' }),
  ApiKeysController_create: (place) => {
    const { ref, databases } = world.sites[place]
    return { name: 'key', projectRef: ref, role: 'read', databaseIds: [databases.redis.id] }
  },
}

const engineOf = (url: string): EngineKind =>
  engineKinds.find((kind) => url.startsWith(`/api/platform/${kind.replace('_', '-')}/`)) ?? 'redis'

async function ask({ headers }: Caller, row: RoleRow, place: Place): Promise<Outcome> {
  const { ref, databases } = world.sites[place]
  const { id, name } = databases[engineOf(row.url)]
  const parameters: Readonly<Record<string, string>> = {
    databaseId: id,
    id: row.operationId === 'ApiKeysController_revoke' ? await keyAt(place) : id,
    ref,
    projectRef: ref,
    name,
    userId: crypto.randomUUID(),
  }
  const url = row.url.replaceAll(/\{(\w+)\}/g, (_, parameter: string) => {
    const value = parameters[parameter]
    if (value === undefined) throw new Error(`${row.url}: say here what {${parameter}} is`)
    return value
  })
  const takesBody = row.method !== 'GET' && row.method !== 'DELETE'
  // A stale version, so that nobody deletes what the others are asked about.
  const asked = { key: null, headers: { ...headers, ...(row.scope === 'database' ? { 'if-match': '"999999"' } : {}) } }
  return outcomeOf(
    await world.app.request(row.method, url, {
      ...asked,
      ...(takesBody ? { body: bodies[row.operationId]?.(place) ?? {} } : {}),
    }),
  )
}

async function keyAt(place: Place): Promise<string> {
  if (place === 'unknown') return crypto.randomUUID()
  const { ref, databases } = world.sites[place]
  return (await world.key({ role: 'read', ref, databaseIds: [databases.redis.id] })).id
}

function placesOf({ scope, operationId }: RoleRow, { kind }: Caller): readonly Place[] {
  const isPlaced = scope === 'database' || scope === 'project' || (narrowed[operationId]?.length ?? 0) > 1
  if (!isPlaced) return ['granted']
  // What is nowhere is not there for the service key either, and which routes say so first is no matter of access.
  return kind === 'service' ? places.filter((place) => place !== 'unknown') : places
}

describe('every route', () => {
  const names = [
    'nobody',
    'a wrong key',
    'a wrong secret of a key that is there',
    'an expired key',
    'a revoked key',
    'an expired token of an admin',
    'the service key for an expired token',
    'the service key',
    'the previous service key',
    ...['some databases', 'the project'].flatMap((reach) =>
      ['read', 'write', 'admin'].flatMap((role) => [
        `a key: ${role} on ${reach}`,
        `a user: ${role} on ${reach}`,
        `the service key for a user: ${role} on ${reach}`,
      ]),
    ),
    'a key: admin on another project',
    'a user: admin on another project',
    'the service key for a user: admin on another project',
    'a user without grants',
    'the service key for a user without grants',
  ]

  test('is asked by every caller', () => {
    expect(callers.map(({ name }) => name).toSorted()).toEqual(names.toSorted())
  })

  for (const name of names) {
    test(`answers ${name} as its declaration says`, async () => {
      const caller = callers.find((one) => one.name === name)
      if (caller === undefined) throw new Error(`there is no ${name}`)
      const wrong: string[] = []
      for (const row of roleTable()) {
        for (const place of placesOf(row, caller)) {
          const [seen, wanted] = [await ask(caller, row, place), expected(caller, row, place)]
          if (seen !== wanted) wrong.push(`${row.method} ${row.url} (${place}): ${seen}, not ${wanted}`)
        }
      }
      expect(wrong).toEqual([])
    })
  }

  test('left everything where it was', async () => {
    const left = await world.app.request('GET', '/api/platform/databases?limit=1000')
    const ids = (left.body as readonly { id: string }[]).map(({ id }) => id)
    const { granted, sibling, foreign } = world.sites
    expect(ids.toSorted()).toEqual([granted, sibling, foreign].flatMap(idsOf).toSorted())
  })
})
