import { randomBytes } from 'node:crypto'

/** Part of every credential in the tests, so that one search over responses, logs and rows finds any leak. */
export const canary = 'c4n4ry'

/** A new password that holds the canary and needs no escaping in a URL. */
export function testPassword(): string {
  return `${canary}-${randomBytes(12).toString('hex')}`
}
