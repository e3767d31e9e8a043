import type { Log } from '../log.ts'

export interface ApiKeyUsesOptions {
  /** Writes what has gathered: milliseconds since 1970 by id. */
  readonly write: (uses: ReadonlyMap<string, number>) => Promise<void>
  readonly log: Log
  /** How long uses gather before they are written together. */
  readonly gatherMs: number
}

/** When keys were last used, written in the background; disposing it writes what has gathered. */
export interface ApiKeyUses extends AsyncDisposable {
  note(id: string, at: number): void
}

/** Fails silently but for one warning until it works again; what was not written is written the next time. */
export function createApiKeyUses({ write, log, gatherMs }: ApiKeyUsesOptions): ApiKeyUses {
  let gathered = new Map<string, number>()
  let timer: Timer | undefined
  let writing: Promise<void> | undefined
  let told = false
  let closed = false
  const note = (id: string, at: number) => {
    gathered.set(id, at)
    if (!closed) timer ??= setTimeout(begin, gatherMs).unref()
  }
  return {
    note,
    async [Symbol.asyncDispose]() {
      closed = true
      clearTimeout(timer)
      await writing
      await writeAll()
    },
  }

  function begin(): void {
    writing = writeAll().finally(() => {
      timer = undefined
      for (const [id, at] of gathered) return note(id, at)
    })
  }

  async function writeAll(): Promise<void> {
    if (gathered.size === 0) return
    const uses = gathered
    gathered = new Map()
    try {
      await write(uses)
      told = false
    } catch (error) {
      if (!told) log.warn('uses of API keys are not noted', { keys: uses.size }, error)
      told = true
      gathered = new Map([...uses, ...gathered])
    }
  }
}
