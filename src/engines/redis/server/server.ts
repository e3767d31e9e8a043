import { ApiError } from '../../../errors.ts'
import type { Call, ServerInfo } from '../../engine.ts'
import { type Clients, createClients } from './clients.ts'
import type { Lanes } from '../commands.ts'
import { type ConfigView, createConfigView } from './config-view.ts'
import { notRedis, replyCode } from '../errors.ts'
import { createLatency, type Latency } from './latency.ts'
import { infoOf, infoWithoutRights } from './server-info.ts'
import { createSlowlog, type Slowlog } from './slowlog.ts'
import { parseInfo } from '../values.ts'

/** What a server says of itself. */
export interface Server extends Slowlog, Clients, ConfigView, Latency {
  /** INFO, of one section or all, as text and parsed. */
  info(
    section: string | undefined,
    call: Call,
  ): Promise<{ readonly raw: string; readonly parsed: Record<string, Record<string, string>> }>
  /** The same for every engine, also for a user without the right to INFO. */
  summary(call: Call): Promise<ServerInfo>
}

export function createServer(lanes: Lanes): Server {
  const { shared } = lanes
  return {
    ...createSlowlog(lanes),
    ...createClients(lanes),
    ...createConfigView(lanes),
    ...createLatency(lanes),
    async info(section, call) {
      const [reply] = await shared.send(call, 'reads', section === undefined ? ['info'] : ['info', section])
      if (!(reply instanceof Buffer)) throw notRedis()
      const raw = reply.toString('utf8')
      return { raw, parsed: parseInfo(raw) }
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
