import type { Engine } from '../engine.ts'
import { config, defaultPort, options } from './options.ts'
import { type MongoSession, openSession } from './session.ts'

/** MongoDB 4.4 and newer: a single server, a replica set or mongos. */
export const mongodb: Engine<'mongodb', MongoSession> = {
  kind: 'mongodb',
  label: 'MongoDB',
  protocols: ['mongodb:', 'mongodb+srv:'],
  defaultPort,
  options,
  config,
  connect: openSession,
}
