import type { Engine } from '#src/engines/engine.ts'
import { config, options } from './options.ts'
import { type MemcachedSession, openSession } from './session.ts'

/** memcached 1.5 and newer over its text protocol (https://github.com/memcached/memcached/blob/master/doc/protocol.txt). */
export const memcached: Engine<'memcached', MemcachedSession> = {
  kind: 'memcached',
  label: 'memcached',
  protocols: ['memcached:', 'memcacheds:'],
  defaultPort: 11211,
  options,
  config,
  connect: openSession,
}
