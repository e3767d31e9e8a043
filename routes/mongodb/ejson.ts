import type { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { EjsonMode } from '#src/engines/mongodb/values.ts'
import type { Env } from '#src/http/env.ts'
import { json } from '#src/http/contract.ts'

/** An answer that is Extended JSON, in the form `Accept` asks for. */
export function ejson<T extends z.ZodType>(schema: T, description: string) {
  const answer = json(schema, description)
  return { ...answer, content: { ...answer.content, 'application/ejson': answer.content['application/json'] } }
}

/** The form `Accept: application/ejson; mode=…` asks for, else the readable one. */
export function modeOf(c: Context<Env>): EjsonMode {
  const match = /application\/ejson\s*;\s*mode="?(canonical|relaxed)"?/i.exec(c.req.header('accept') ?? '')
  return (match?.[1]?.toLowerCase() as EjsonMode | undefined) ?? 'readable'
}

/** Answers text that is JSON already: parsing it would lose what it was written as text for. */
export function sendEjson(c: Context<Env>, mode: EjsonMode, body: string) {
  const mediaType = mode === 'readable' ? 'application/json' : `application/ejson; mode=${mode}`
  return c.body(body, 200, { 'content-type': mediaType }) as never
}
