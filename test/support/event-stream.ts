/** A server-sent event as a client reads it; `data` is parsed, untyped on purpose: tests compare it whole. */
export interface SentEvent {
  readonly event: string
  readonly id: string | undefined
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly data: any
}

/** The events of an answer as they come, to its end; leaving the loop cancels it. Comments are passed over. */
export async function* eventsOf(response: Response): AsyncGenerator<SentEvent, undefined> {
  for await (const block of partsOf(response, '\n\n')) {
    const fields = block.split('\n').map((line) => /^(event|id|data): (.*)$/.exec(line))
    const find = (name: string) => fields.find((field) => field?.[1] === name)?.[2]
    const data = find('data')
    if (data !== undefined) yield { event: find('event') ?? 'message', id: find('id'), data: JSON.parse(data) }
  }
}

/** The lines of an NDJSON answer as they come, parsed; leaving the loop cancels it. */
// oxlint-disable-next-line typescript/no-explicit-any
export async function* linesOf(response: Response): AsyncGenerator<any, undefined> {
  for await (const line of partsOf(response, '\n')) yield JSON.parse(line)
}

/** The next of an iterator that has not ended. */
export async function nextOf<T>(items: AsyncIterator<T, undefined>): Promise<T> {
  const { done, value } = await items.next()
  if (done) throw new Error('the stream has ended')
  return value
}

/** The error of an answer that is one. */
// oxlint-disable-next-line typescript/no-explicit-any
export async function errorOf(response: Response): Promise<any> {
  return ((await response.json()) as { readonly error: unknown }).error
}

async function* partsOf({ body }: Response, separator: string): AsyncGenerator<string, undefined> {
  if (body === null) return
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body) {
    const parts = (text + decoder.decode(chunk, { stream: true })).split(separator)
    text = parts.pop() ?? ''
    yield* parts
  }
}
