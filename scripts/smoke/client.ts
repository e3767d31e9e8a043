/** The JSON of an answer; empty for 204. */
export type Json = Readonly<Record<string, unknown>>

/** A server and the key that opens it. */
export interface Server {
  readonly url: string
  readonly key: string
}

/** Sends requests to one server and prints each with its answer; what `hide` was given is `****` in all that is printed. */
export interface Client {
  readonly requests: number
  /** The answer of a request, which must have the status that is expected; throws a sentence without secrets. */
  send(method: string, path: string, expected: number, body?: unknown): Promise<Json>
  /** The same where any of several statuses will do. */
  sendAny(method: string, path: string, expected: readonly number[]): Promise<{ readonly status: number; body: Json }>
  /** A request that is neither printed nor checked: to clear up after a failure. */
  sendQuietly(method: string, path: string): Promise<void>
  hide(secret: string): void
  /** Hides what is secret in a connection string, as it stands there and decoded. */
  hidePassword(connectionString: string): void
  mask(text: string): string
}

const shownCharacters = 2_000

export function createClient({ url, key }: Server): Client {
  const secrets = new Set<string>()
  let requests = 0

  const request = async (method: string, path: string, expected: readonly number[], body?: unknown) => {
    requests += 1
    const text = body === undefined ? null : JSON.stringify(body)
    console.log(`\n${method} ${path}${text === null ? '' : `\n  ${mask(text)}`}`)
    const headers = { authorization: `Bearer ${key}`, ...(text === null ? {} : { 'content-type': 'application/json' }) }
    const response = await fetch(`${url}${path}`, { method, headers, body: text })
    const answer = await response.text()
    console.log(`  ${response.status} ${shorten(mask(answer))}`)
    if (!expected.includes(response.status))
      throw new Error(`${method} ${path} answered ${response.status}, not ${expected.join(' or ')}`)
    return { status: response.status, body: answer === '' ? {} : (JSON.parse(answer) as Json) }
  }
  const mask = (text: string) => {
    const known = [...secrets].sort((a, b) => b.length - a.length)
    const masked = known.reduce((rest, secret) => rest.replaceAll(secret, '****'), text)
    return masked.replaceAll(/(:\/\/[^:@/\s"]*:)[^@\s"]*@/g, '$1****@')
  }
  const hide = (secret: string) => void (secret !== '' && secrets.add(secret))

  hide(key)
  return {
    get requests() {
      return requests
    },
    send: async (method, path, expected, body) => (await request(method, path, [expected], body)).body,
    sendAny: (method, path, expected) => request(method, path, expected),
    sendQuietly: async (method, path) => void (await fetch(`${url}${path}`, { method, headers: { apikey: key } })),
    hide,
    hidePassword(connectionString) {
      const password = /:\/\/[^@/]*?:([^@]*)@/.exec(connectionString)?.[1] ?? ''
      hide(password)
      try {
        hide(decodeURIComponent(password))
      } catch {
        // It is no URL encoding: the server will say so.
      }
    },
    mask,
  }
}

/** Throws when an answer holds something else than it must. */
export function expectEqual(what: string, found: unknown, expected: unknown): void {
  if (found !== expected) throw new Error(`${what} is ${String(found)}, not ${String(expected)}`)
}

function shorten(text: string): string {
  return text.length > shownCharacters ? `${text.slice(0, shownCharacters)}… (${text.length} characters)` : text
}
