import { failed } from '../dial-errors.ts'
import type { MongoClient } from './driver.ts'

// Time for the driver's own error, which says more.
const graceMs = 100

/** What a deployment that is gone does to operations under way. */
export interface Outage {
  /** Settles with the work, or fails soon after the last known server is lost: a write to a socket that died may never settle. */
  during<T>(work: Promise<T>): Promise<T>
}

/** Watches a client's servers; `onLost` is told when none is known any more. */
export function watchOutage(client: MongoClient, onLost: () => void): Outage {
  const waiting = new Set<(error: unknown) => void>()
  client.on('topologyDescriptionChanged', ({ previousDescription, newDescription }) => {
    if (!isKnown(previousDescription) || isKnown(newDescription)) return
    onLost()
    const caught = [...waiting]
    setTimeout(() => {
      for (const fail of caught) if (waiting.has(fail)) fail(failed('closed', 'The server closed the connection.'))
    }, graceMs)
  })
  return {
    async during(work) {
      const { promise, reject } = Promise.withResolvers<never>()
      waiting.add(reject)
      try {
        return await Promise.race([work, promise])
      } finally {
        waiting.delete(reject)
      }
    },
  }
}

function isKnown({ servers }: { readonly servers: ReadonlyMap<string, { readonly type: string }> }): boolean {
  return [...servers.values()].some(({ type }) => type !== 'Unknown')
}
