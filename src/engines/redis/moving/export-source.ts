import type { Commands } from '../commands.ts'
import { isTooLarge } from '../errors.ts'
import type { Apart } from '../watch/watch.ts'

/** Connections that are opened anew where one was lost, as a reply above the cap costs it. */
export interface Source extends AsyncDisposable {
  readonly commands: Commands
}

export async function openSource(open: () => Promise<Apart>): Promise<Source> {
  let apart = await open()
  // The connection does not always say so in time itself.
  let isSpent = false
  return {
    commands: {
      send: (call, effect, ...batch) => run((commands) => commands.send(call, effect, ...batch)),
      each: (call, effect, ...batch) => run((commands) => commands.each(call, effect, ...batch)),
    },
    [Symbol.asyncDispose]: () => apart[Symbol.asyncDispose](),
  }

  async function run<T>(work: (commands: Commands) => Promise<T>): Promise<T> {
    if (isSpent || apart.closed) {
      await apart[Symbol.asyncDispose]()
      apart = await open()
      isSpent = false
    }
    try {
      return await work(apart.commands)
    } catch (error) {
      isSpent = isTooLarge(error)
      throw error
    }
  }
}
