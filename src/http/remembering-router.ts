import type { Result, Router } from 'hono/router'
import { TrieRouter } from 'hono/router/trie-router'

const maxRemembered = 30_000

/**
 * The one router of hono that takes `/databases/stats` beside `/databases/:id`, with its last matches by path: most requests ask for a path
 * that was asked for before, and a match costs more than validation.
 */
export class RememberingRouter<T> implements Router<T> {
  readonly name = 'RememberingRouter'
  readonly #routes = new TrieRouter<T>()
  readonly #matches = new Map<string, Map<string, Result<T>>>()

  add(method: string, path: string, handler: T): void {
    this.#routes.add(method, path, handler)
    this.#matches.clear()
  }

  match(method: string, path: string): Result<T> {
    let known = this.#matches.get(method)
    const match = known?.get(path)
    if (match !== undefined) return match
    const found = this.#routes.match(method, path)
    if (known === undefined || known.size >= maxRemembered) this.#matches.set(method, (known = new Map()))
    known.set(path, found)
    return found
  }
}
