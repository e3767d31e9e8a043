export const redisKeyKeys = {
  list: (databaseId: string | undefined, pattern: string | undefined) =>
    ['registered-databases', databaseId, 'redis-keys', pattern] as const,
}
