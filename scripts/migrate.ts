import { loadConfig, takeEnvironment } from '#src/config.ts'
import { createDeps } from '#src/deps.ts'
import { startFailure } from '#src/start-failure.ts'

/** Applies the migrations and ends: for a pre-deploy step. The server does the same at its start. */
try {
  const deps = await createDeps(loadConfig(takeEnvironment(process.env)))
  await deps[Symbol.asyncDispose]()
  console.log('The registry is up to date.')
} catch (error) {
  const { line, exitCode } = startFailure(error)
  console.error(line)
  process.exit(exitCode)
}
