import type { Call } from '../../engine.ts'
import type { Reply } from '../wire/batch.ts'
import type { Commands } from '../commands.ts'
import { notRedis } from '../errors.ts'
import { type Everywhere, inTurn, type OfNode } from './in-turn.ts'

/** What made the server slow, where `latency-monitor-threshold` is set (https://redis.io/docs/latest/operate/oss_and_stack/management/optimization/latency-monitor/). */
export interface LatencyEvent extends OfNode {
  readonly event: string
  /** Of the latest, in seconds since 1970. */
  readonly timestamp: number
  readonly latest_ms: number
  readonly max_ms: number
  /** At most 160, the oldest first. */
  readonly history: readonly { readonly timestamp: number; readonly ms: number }[]
}

export interface Latency {
  readonly events: readonly LatencyEvent[]
  readonly doctor: string
}

const maxEvents = 100

/** Every kind of event with its history, and the advice of LATENCY DOCTOR as text, of a cluster under the name of each primary. */
export async function latencyOf(all: Everywhere, call: Call): Promise<Latency> {
  const answers = await inTurn(all, call, async (commands, of) => {
    const { events, doctor } = await ask(commands, call)
    return {
      events: events.map((event) => ({ ...event, ...of })),
      doctor: of.node === undefined ? doctor : `${of.node}\n${doctor}`,
    }
  })
  return {
    events: answers.flatMap(({ events }) => events),
    doctor: answers.map(({ doctor }) => doctor).join('\n\n'),
  }
}

async function ask(commands: Commands, call: Call): Promise<Latency> {
  const [latest, doctor] = await commands.send(call, 'reads', ['latency', 'latest'], ['latency', 'doctor'])
  if (!(doctor instanceof Buffer)) throw notRedis()
  const rows = listOf(latest).map(listOf).slice(0, maxEvents)
  const names = rows.map(([name]) => (name instanceof Buffer ? name : Buffer.of()))
  const histories =
    names.length === 0
      ? []
      : await commands.send(call, 'reads', ...names.map((name) => ['latency', 'history', name] as const))
  const events = rows.map(([, timestamp, latestMs, maxMs], index) => ({
    event: String(names[index]),
    timestamp: Number(timestamp),
    latest_ms: Number(latestMs),
    max_ms: Number(maxMs),
    history: listOf(histories[index])
      .map(listOf)
      .map(([at, ms]) => ({ timestamp: Number(at), ms: Number(ms) })),
  }))
  return { events, doctor: doctor.toString('utf8') }
}

function listOf(reply: Reply | undefined): readonly Reply[] {
  if (!Array.isArray(reply)) throw notRedis()
  return reply as readonly Reply[]
}
