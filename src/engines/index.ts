import { defineEngines } from './engine.ts'
import { bunApi } from './bun-api/engine.ts'
import { mongodb } from './mongodb/engine.ts'
import { postgres } from './postgres/engine.ts'
import { redis } from './redis/engine.ts'

/** The engines this server knows, one line each. */
export const engines = defineEngines(postgres, redis, mongodb, bunApi)

export type EngineKind = keyof typeof engines
export const engineKinds = Object.keys(engines) as [EngineKind, ...EngineKind[]]
