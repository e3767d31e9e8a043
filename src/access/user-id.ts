const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** The most characters of a user's id: a longer `sub` is refused. */
export const maxUserIdLength = 255

export function isUuid(id: string): boolean {
  return uuid.test(id)
}

/** A token's `sub` as grants name it: UUIDs in lower case, as PostgreSQL writes them. */
export function userIdOf(sub: string): string {
  return isUuid(sub) ? sub.toLowerCase() : sub
}
