// @ts-nocheck: the types are made by studio-types.test.ts, which checks a copy of this folder without these lines.
import { createDatabase } from './data/databases/database-create-mutation'
import { getDatabases } from './data/databases/databases-query'
import { get, post } from './data/fetchers'
import { getRedisKeys } from './data/redis-keys/redis-keys-query'

/** Each is an error of the generated types; one that is none fails the check, as its line expects one. */
export async function makeMistakes(): Promise<void> {
  // @ts-expect-error no such path
  await get('/platform/database')
  // @ts-expect-error no such method
  await post('/platform/databases/stats')
  // @ts-expect-error a path parameter is missing
  await get('/platform/redis/{databaseId}/keys')
  // @ts-expect-error no such query parameter
  await get('/platform/databases', { params: { query: { projectref: 'default' } } })
  // @ts-expect-error a number is wanted
  await get('/platform/databases', { params: { query: { limit: '10' } } })
  // @ts-expect-error no such type of database
  await createDatabase({ projectRef: 'default', name: 'main', type: 'mysql' })
  // @ts-expect-error the name is missing
  await createDatabase({ projectRef: 'default', type: 'redis' })
  // @ts-expect-error it is snake case in answers
  console.log((await getDatabases({ projectRef: 'default' })).map((database) => database.projectRef))
  // @ts-expect-error a name may be null where there is no organization
  console.log((await getDatabases({ projectRef: 'default' })).map((database) => database.organization_name.length))
  // @ts-expect-error a key may be bytes
  console.log((await getRedisKeys({ databaseId: 'a' })).data.map(({ key }) => key.length))
  const { data: own } = await get('/platform/projects/{ref}/databases', { params: { path: { ref: 'default' } } })
  // @ts-expect-error Studio's own databases have no name
  console.log(own?.map((database) => database.name))
  const { data: organizations } = await get('/platform/organizations')
  // @ts-expect-error Studio's own organizations win: their ids are numbers
  console.log(organizations?.map((organization) => organization.id.length))
}
