// @ts-nocheck: the types are made by studio-types.test.ts, which checks a copy of this folder without these lines.
import { infiniteQueryOptions, useInfiniteQuery } from '@tanstack/react-query'
import { get, handleError } from '../fetchers'
import { redisKeyKeys } from './keys'

export interface RedisKeysVariables {
  readonly databaseId?: string
  readonly pattern?: string
  readonly count?: number
}

export async function getRedisKeys(
  { databaseId, pattern = '*', count = 100, cursor }: RedisKeysVariables & { readonly cursor?: string | undefined },
  signal?: AbortSignal,
) {
  if (!databaseId) throw new Error('databaseId is required')
  const { data, error } = await get('/platform/redis/{databaseId}/keys', {
    params: { path: { databaseId }, query: { pattern, count, ...(cursor === undefined ? {} : { cursor }) } },
    signal: signal ?? null,
  })
  if (error) handleError(error)
  return data
}

export const redisKeysQueryOptions = ({ databaseId, pattern, count }: RedisKeysVariables) =>
  infiniteQueryOptions({
    queryKey: redisKeyKeys.list(databaseId, pattern),
    queryFn: ({ signal, pageParam }) => getRedisKeys({ databaseId, pattern, count, cursor: pageParam }, signal),
    enabled: typeof databaseId !== 'undefined',
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.pagination.next_cursor ?? undefined,
  })

export const useRedisKeysQuery = (variables: RedisKeysVariables) => useInfiniteQuery(redisKeysQueryOptions(variables))
