import type { Engine } from '../engine.ts'
import { config, options } from './options.ts'
import { openSession, type PostgresSession } from './session.ts'

/** PostgreSQL 12 and newer, spoken directly. */
export const postgres: Engine<'postgres', PostgresSession> = {
  kind: 'postgres',
  label: 'PostgreSQL',
  protocols: ['postgresql:', 'postgres:'],
  defaultPort: 5432,
  options,
  config,
  connect: openSession,
}
