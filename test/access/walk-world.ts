import { SignJWT } from 'jose'
import type { Role } from '#src/access/principal.ts'
import { type EngineKind, engineKinds } from '#src/engines/index.ts'
import { inRegistry, newName, path as databases } from '#test/registry/registries.ts'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { canary } from '#test/support/stores.ts'

/** Where a request goes: databases that single grants and keys name, others of their project, another project's, nowhere. */
export type Place = 'granted' | 'sibling' | 'foreign' | 'unknown'
export const places: readonly Place[] = ['granted', 'sibling', 'foreign', 'unknown']

/** A place's project and databases; `unknown` has ids and refs that are none's. */
export interface Site {
  readonly ref: string
  readonly databases: Readonly<Record<EngineKind, { readonly id: string; readonly name: string }>>
}

/** A caller, and what it holds where. */
export interface Caller {
  readonly name: string
  readonly kind: 'refused' | 'service' | 'key' | 'user'
  readonly headers: Readonly<Record<string, string>>
  /** On databases. */
  readonly holds: Readonly<Partial<Record<Place, Role>>>
  /** On whole projects; `sibling` is the project of `granted` too. */
  readonly holdsProject: Readonly<Partial<Record<Place, Role>>>
}

/** Two projects with databases of every engine, which are never dialled. */
export interface World extends AsyncDisposable {
  readonly app: TestApp
  readonly sites: Readonly<Record<Place, Site>>
  readonly key: (wanted: WantedKey) => Promise<{ readonly id: string; readonly secret: string }>
  readonly grant: (user: string, role: Role, at: 'granted' | 'project' | 'foreign') => Promise<void>
  readonly token: (sub: string, expiresIn?: number) => Promise<string>
}

interface WantedKey {
  readonly role: Role
  readonly ref: string
  readonly databaseIds?: readonly string[]
}

const issuer = 'https://project.supabase.test/auth/v1'
/** Opens the door as the current one does. */
export const previousKey = `${canary}-${crypto.randomUUID()}-${crypto.randomUUID()}`
const urls: Readonly<Partial<Record<EngineKind, string>>> = {
  redis: `redis://:${canary}@127.0.0.1:6379/0`,
  postgres: `postgresql://reader:${canary}@127.0.0.1:5432/app`,
  mongodb: `mongodb://reader:${canary}@127.0.0.1:27017/app`,
  bun_api: `http://:${canary}@127.0.0.1:3000`,
}

export async function openWorld(env: Readonly<Record<string, string>> = {}): Promise<World> {
  const secret = `${canary}-${crypto.randomUUID()}`
  const app = await createTestApp({
    env: {
      SUPABASE_JWT_SECRET: secret,
      JWT_ISSUER: issuer,
      BUN_API_KEY_PREVIOUS: previousKey,
      EGRESS_DENY: '127.0.0.0/8',
      ...env,
    },
  })
  const send = async (method: string, path: string, body: unknown) => {
    const answer = await app.request(method, path, { body })
    if (answer.status > 299) throw new Error(`${method} ${path} answered ${answer.status}: ${answer.text}`)
    return answer.body
  }
  const addProject = async () => {
    const [ref, slug] = [newName('p'), newName('o')]
    await send('POST', '/api/platform/organizations', { name: 'Acme', slug })
    await send('POST', '/api/platform/projects', { name: 'Shop', ref, organizationSlug: slug })
    return ref
  }
  const addSite = async (ref: string): Promise<Site> => {
    const rows = engineKinds.map(async (type) => {
      const body = { projectRef: ref, name: newName(), type, connectionString: urls[type] }
      return [type, await send('POST', `${databases}?skipTest=true`, body)]
    })
    return { ref, databases: Object.fromEntries(await Promise.all(rows)) }
  }
  const [ref, foreignRef] = [await addProject(), await addProject()]
  const nowhere = engineKinds.map((type) => [type, { id: crypto.randomUUID(), name: newName() }])
  const sites = {
    granted: await addSite(ref),
    sibling: await addSite(ref),
    foreign: await addSite(foreignRef),
    unknown: { ref: newName('p'), databases: Object.fromEntries(nowhere) },
  }
  return {
    app,
    sites,
    key: ({ role, ref: projectRef, databaseIds }) =>
      send('POST', '/api/platform/api-keys', {
        name: 'key',
        projectRef,
        role,
        ...(databaseIds ? { databaseIds } : {}),
      }),
    async grant(user, role, at) {
      const project = `/api/platform/projects/${at === 'foreign' ? foreignRef : ref}/permissions/${user}`
      const each = idsOf(sites.granted).map((id) => `${databases}/${id}/permissions/${user}`)
      for (const url of at === 'granted' ? each : [project]) await send('PUT', url, { role })
    },
    token: (sub, expiresIn = 600) =>
      new SignJWT({ sub, iss: issuer, aud: 'authenticated', exp: Math.floor(Date.now() / 1000) + expiresIn })
        .setProtectedHeader({ alg: 'HS256' })
        .sign(Buffer.from(secret)),
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  }
}

/** The ids of a site's databases. */
export function idsOf({ databases: rows }: Site): readonly string[] {
  return Object.values(rows).map(({ id }) => id)
}

export const bearer = (credential: string) => ({ authorization: `Bearer ${credential}` })

/** What somebody holds on a site's databases, on all of their project, or on the other project. */
const reaches = {
  'some databases': (role: Role) => ({ holds: { granted: role }, holdsProject: {} }),
  'the project': (role: Role) => ({
    holds: { granted: role, sibling: role },
    holdsProject: { granted: role, sibling: role },
  }),
  'another project': (role: Role) => ({ holds: { foreign: role }, holdsProject: { foreign: role } }),
  nothing: () => ({ holds: {}, holdsProject: {} }),
} as const

/** Every kind of caller. */
export async function callersOf(world: World): Promise<readonly Caller[]> {
  const { app, sites, key, grant, token } = world
  const own = sites.granted.ref
  const expired = await key({ role: 'admin', ref: own })
  await inRegistry(
    app,
    (sql) => sql`update platform.api_keys set expires_at = now() - interval '1 hour' where id = ${expired.id}`,
  )
  const revoked = await key({ role: 'admin', ref: own })
  await app.request('DELETE', `/api/platform/api-keys/${revoked.id}`)
  const wrong = `${(await key({ role: 'admin', ref: own })).secret.slice(0, -4)}AAAA`
  const admin = crypto.randomUUID()
  await grant(admin, 'admin', 'project')
  const forwarding = (credential: string) => ({
    ...bearer(app.key),
    'x-forwarded-authorization': `Bearer ${credential}`,
  })
  const refused = (name: string, headers: Caller['headers']): Caller => ({
    name,
    kind: 'refused',
    headers,
    ...reaches.nothing(),
  })
  const service = (name: string, headers: Caller['headers']): Caller => ({
    name,
    kind: 'service',
    headers,
    ...reaches.nothing(),
  })

  const callers: Caller[] = [
    refused('nobody', {}),
    refused('a wrong key', bearer('wrong')),
    refused('a wrong secret of a key that is there', bearer(wrong)),
    refused('an expired key', bearer(expired.secret)),
    refused('a revoked key', bearer(revoked.secret)),
    refused('an expired token of an admin', bearer(await token(admin, -3600))),
    refused('the service key for an expired token', forwarding(await token(admin, -3600))),
    service('the service key', bearer(app.key)),
    service('the previous service key', bearer(previousKey)),
  ]
  const addKey = async (role: Role, of: 'some databases' | 'the project' | 'another project') => {
    const databaseIds = of === 'some databases' ? { databaseIds: idsOf(sites.granted) } : {}
    const { secret } = await key({ role, ref: of === 'another project' ? sites.foreign.ref : own, ...databaseIds })
    callers.push({ name: `a key: ${role} on ${of}`, kind: 'key', headers: bearer(secret), ...reaches[of](role) })
  }
  const addUser = async (role: Role, of: keyof typeof reaches) => {
    const sub = crypto.randomUUID()
    if (of !== 'nothing')
      await grant(sub, role, of === 'some databases' ? 'granted' : of === 'the project' ? 'project' : 'foreign')
    const held = { kind: 'user', ...reaches[of](role) } as const
    const name = of === 'nothing' ? 'a user without grants' : `a user: ${role} on ${of}`
    callers.push({ name, headers: bearer(await token(sub)), ...held })
    callers.push({ name: `the service key for ${name}`, headers: forwarding(await token(sub)), ...held })
  }
  for (const of of ['some databases', 'the project'] as const) {
    for (const role of ['read', 'write', 'admin'] as const) {
      await addKey(role, of)
      await addUser(role, of)
    }
  }
  await addKey('admin', 'another project')
  await addUser('admin', 'another project')
  await addUser('read', 'nothing')
  return callers
}
