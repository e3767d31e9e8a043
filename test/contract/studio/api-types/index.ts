// @ts-nocheck: the types are made by studio-types.test.ts, which checks a copy of this folder without these lines.
import type {
  components as bunApiComponents,
  operations as bunApiOperations,
  paths as bunApiPaths,
} from './types/bun-api'
import type {
  components as platformComponents,
  operations as platformOperations,
  paths as platformPaths,
} from './types/platform'

// Both have organizations and projects: Studio keeps its own, which an interface can't extend twice.
export interface paths extends platformPaths, Omit<bunApiPaths, keyof platformPaths> {}
export interface operations extends platformOperations, Omit<bunApiOperations, keyof platformOperations> {}
export interface components {
  schemas: platformComponents['schemas'] & Omit<bunApiComponents['schemas'], keyof platformComponents['schemas']>
}
