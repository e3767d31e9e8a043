import type { BenchServer } from './server.ts'

/** A request that looks at many keys. */
export interface Walk {
  readonly name: string
  readonly path: string
  /** Sent by POST. */
  readonly body?: Readonly<Record<string, unknown>>
  /** How many keys a part of the answer tells of. */
  readonly count: (text: string) => number
}

/** A walk that goes on and on; disposing it ends it, and throws where an answer was not 2xx. */
export interface RunningWalk extends AsyncDisposable {
  keysPerSecond(): number
}

const scanned = numberAfter(/"scanned":(\d+)/)
const pattern = 'session:*'

export const walks: readonly Walk[] = [
  { name: 'pages', path: 'keys', count: scanned },
  { name: 'pages of 1,000', path: 'keys?count=1000', count: scanned },
  { name: 'a search', path: 'keys?pattern=needl?', count: scanned },
  { name: 'a tree', path: 'keys/tree?prefix=session:', count: scanned },
  { name: 'a dry run', path: 'keys/delete', body: { pattern, dryRun: true }, count: scanned },
  { name: 'a memory report', path: 'memory?samples=10000', count: numberAfter(/"sampled":(\d+)/) },
  // Each event tells of all until then; the first page of the next walk begins anew.
  {
    name: 'TTLs by pattern',
    path: 'keys/ttl',
    body: { pattern, ttlMs: 86_400_000 },
    count: growthOf(/"scanned":(\d+)/g),
  },
  { name: 'an export', path: 'export', count: (text) => text.split('\n').length - 1 },
]

/** Page after page by one caller, and from the beginning after the last. */
export function startWalk({ path, body, count }: Walk, { origin, headers }: BenchServer, base: string): RunningWalk {
  const stopped = new AbortController()
  const began = performance.now()
  let keys = 0
  const running = (async () => {
    let cursor = ''
    while (!stopped.signal.aborted) {
      const from = cursor === '' ? '' : `${path.includes('?') ? '&' : '?'}cursor=${encodeURIComponent(cursor)}`
      const answer = await fetch(`${origin}${base}/${path}${from}`, {
        headers: { ...headers, 'content-type': 'application/json' },
        signal: stopped.signal,
        ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
      })
      if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`)
      let text = ''
      const isStream = !answer.headers.get('content-type')?.startsWith('application/json')
      for await (const chunk of answer.body?.pipeThrough(new TextDecoderStream()) ?? []) {
        if (isStream) keys += count(chunk)
        else text += chunk
      }
      if (!isStream) keys += count(text)
      cursor = /"next_cursor":"([^"]+)"/.exec(text)?.[1] ?? ''
    }
  })().catch((error: unknown) => {
    if (!stopped.signal.aborted) throw error
  })
  return {
    keysPerSecond: () => (keys / (performance.now() - began)) * 1_000,
    async [Symbol.asyncDispose]() {
      stopped.abort()
      await running
    },
  }
}

function numberAfter(found: RegExp): (text: string) => number {
  return (text) => Number(found.exec(text)?.[1] ?? 0)
}

function growthOf(found: RegExp): (text: string) => number {
  let last = 0
  return (text) => {
    let growth = 0
    for (const [, digits] of text.matchAll(found)) {
      const now = Number(digits)
      growth += now < last ? now : now - last
      last = now
    }
    return growth
  }
}
