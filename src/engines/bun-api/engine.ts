import type { Engine } from '../engine.ts'
import { config, defaultPorts, options } from './options.ts'
import { type BunApiSession, openSession } from './session.ts'

/** Another Bun API server, or any HTTP server with `/health` and `/info`. */
export const bunApi: Engine<'bun_api', BunApiSession> = {
  kind: 'bun_api',
  label: 'Bun API',
  protocols: ['http:', 'https:'],
  defaultPort: 80,
  schemePorts: defaultPorts,
  options,
  config,
  connect: openSession,
}
