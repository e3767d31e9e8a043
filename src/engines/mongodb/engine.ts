import type { Engine } from '../engine.ts'
import { config, defaultPort, options } from './options.ts'
import type { MongoSession } from './session.ts'

/** MongoDB 4.4 and newer: a single server, a replica set or mongos. */
export const mongodb: Engine<'mongodb', MongoSession> = {
  kind: 'mongodb',
  label: 'MongoDB',
  protocols: ['mongodb:', 'mongodb+srv:'],
  defaultPort,
  options,
  config,
  // The driver is loaded when it is first used: the buffer of its BSON alone is 17 MiB.
  connect: async (...given) => (await import('./session.ts')).openSession(...given),
}
