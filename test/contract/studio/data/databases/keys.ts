export const databaseKeys = {
  list: (ref: string | undefined, types?: readonly string[]) =>
    ['projects', ref, 'registered-databases', types] as const,
  detail: (ref: string | undefined, id: string | undefined) => ['projects', ref, 'registered-databases', id] as const,
}
