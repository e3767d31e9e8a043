import { ApiError } from '../../../errors.ts'
import type { Call, ServerInfo } from '../../engine.ts'
import type { Lanes } from '../commands.ts'
import { type ConfigView, createConfigView } from './config-view.ts'
import { notRedis, replyCode } from '../errors.ts'
import type { OfNode } from './in-turn.ts'
import { infoOf, infoWithoutRights } from './server-info.ts'
import { parseInfo } from '../values.ts'

/** INFO as text and parsed. */
export interface InfoView extends OfNode {
  readonly raw: string
  readonly parsed: Record<string, Record<string, string>>
}

/** What a server says of itself; of a cluster, one node. */
export interface Server extends ConfigView {
  /** INFO, of one section or all. */
  info(section: string | undefined, call: Call): Promise<InfoView>
  /** The same for every engine, also for a user without the right to INFO. */
  summary(call: Call): Promise<ServerInfo>
}

export function createServer(lanes: Lanes): Server {
  return {
    ...createConfigView(lanes),
    async info(section, call) {
      const { commands, ...of } = await lanes.anyServer(call)
      const [reply] = await commands.send(call, 'reads', section === undefined ? ['info'] : ['info', section])
      if (!(reply instanceof Buffer)) throw notRedis()
      const raw = reply.toString('utf8')
      return { raw, parsed: parseInfo(raw), ...of }
    },
    async summary(call) {
      try {
        return infoOf((await this.info(undefined, call)).parsed)
      } catch (error) {
        if (!(error instanceof ApiError) || replyCode(error.cause) !== 'NOPERM') throw error
        return infoWithoutRights
      }
    },
  }
}
