// @ts-nocheck: the types are made by studio-types.test.ts, which checks a copy of this folder without these lines.
import { useMutation, useQueryClient, type UseMutationOptions } from '@tanstack/react-query'
import type { components } from 'api-types'
import { handleError, post, type ResponseError } from '../fetchers'
import { databaseKeys } from './keys'

export type DatabaseCreateVariables = components['schemas']['CreateDatabase']

export async function createDatabase(body: DatabaseCreateVariables) {
  const { data, error } = await post('/platform/databases', { body })
  if (error) handleError(error)
  return data
}

export type DatabaseCreateData = Awaited<ReturnType<typeof createDatabase>>

export const useDatabaseCreateMutation = (
  options: Omit<UseMutationOptions<DatabaseCreateData, ResponseError, DatabaseCreateVariables>, 'mutationFn'> = {},
) => {
  const queryClient = useQueryClient()
  return useMutation<DatabaseCreateData, ResponseError, DatabaseCreateVariables>({
    ...options,
    mutationFn: createDatabase,
    async onSuccess(...args) {
      await queryClient.invalidateQueries({ queryKey: databaseKeys.list(args[1].projectRef) })
      await options.onSuccess?.(...args)
    },
  })
}
