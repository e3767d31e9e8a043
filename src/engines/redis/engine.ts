import type { Engine } from '../engine.ts'
import { config, defaultPort, options } from './options.ts'
import { openSession, type RedisSession } from './session.ts'

/** Redis 6 and newer, Valkey, and what speaks their protocol. */
export const redis: Engine<'redis', RedisSession> = {
  kind: 'redis',
  label: 'Redis',
  protocols: ['redis:', 'rediss:'],
  defaultPort,
  options,
  config,
  connect: openSession,
}
