import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Lanes } from '../commands.ts'
import { notRedis } from '../errors.ts'
import type { OfNode } from './in-turn.ts'

/** Settings by name. */
export type Settings = Readonly<Record<string, string>>

/** The server's settings, for reading alone. */
export interface ConfigView {
  /** The settings whose names match a glob, as text; what is a secret is masked. */
  settings(pattern: string, call: Call): Promise<OfNode & { readonly config: Settings }>
}

/** In place of a secret. */
export const mask = '****'
// requirepass, masterauth, primaryauth, tls-key-file-pass, sentinel's auth-pass; tls-auth-clients is none. Names of modules follow their own mind.
const isSecret = /pass|auth$|secret|token|credential/i

export function createConfigView({ anyServer }: Lanes): ConfigView {
  return {
    async settings(pattern, call) {
      const { commands, ...of } = await anyServer(call)
      const [reply] = await commands.send(call, 'reads', ['config', 'get', pattern])
      if (!Array.isArray(reply)) throw notRedis()
      return { config: settingsOf(reply as readonly Reply[]), ...of }
    },
  }
}

/** Names and values in turn, as CONFIG GET answers. */
export function settingsOf(reply: readonly Reply[]): Settings {
  const entries: (readonly [string, string])[] = []
  for (let index = 0; index + 1 < reply.length; index += 2) {
    const [name, value] = [textOf(reply[index]), textOf(reply[index + 1])]
    entries.push([name, isSecret.test(name) && value !== '' ? mask : value])
  }
  return Object.fromEntries(entries.toSorted(([one], [other]) => (one < other ? -1 : 1)))
}

function textOf(reply: Reply | undefined): string {
  return reply instanceof Buffer ? reply.toString('utf8') : ''
}
