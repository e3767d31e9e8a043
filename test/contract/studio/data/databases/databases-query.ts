// @ts-nocheck: the types are made by studio-types.test.ts, which checks a copy of this folder without these lines.
import { useQuery, type UseQueryOptions } from '@tanstack/react-query'
import type { components } from 'api-types'
import { get, handleError, type ResponseError } from '../fetchers'
import { databaseKeys } from './keys'

export type RegisteredDatabase = components['schemas']['Database']
export type DatabaseType = components['schemas']['DatabaseType']

export interface DatabasesVariables {
  readonly projectRef?: string
  readonly types?: readonly DatabaseType[]
}

export async function getDatabases({ projectRef, types }: DatabasesVariables, signal?: AbortSignal) {
  if (!projectRef) throw new Error('projectRef is required')
  const { data, error } = await get('/platform/databases', {
    params: { query: { projectRef, ...(types === undefined ? {} : { types: types.join(',') }) } },
    signal: signal ?? null,
  })
  if (error) handleError(error)
  return data
}

export type DatabasesData = Awaited<ReturnType<typeof getDatabases>>

export const useDatabasesQuery = <TData = DatabasesData>(
  { projectRef, types }: DatabasesVariables,
  { enabled = true, ...options }: Omit<UseQueryOptions<DatabasesData, ResponseError, TData>, 'queryKey'> = {},
) =>
  useQuery<DatabasesData, ResponseError, TData>({
    queryKey: databaseKeys.list(projectRef, types),
    queryFn: ({ signal }) => getDatabases({ projectRef, types }, signal),
    enabled: enabled && typeof projectRef !== 'undefined',
    ...options,
  })
