import { type Config, loadConfig, takeEnvironment } from './config.ts'
import { createLog, standardOutput, wholeLines } from './log.ts'
import { startFailure } from './start-failure.ts'

const environment = takeEnvironment(process.env)
try {
  await run(loadConfig(environment))
} catch (error) {
  const { line, exitCode } = startFailure(error)
  console.error(line)
  process.exit(exitCode)
}

/** The server in this process, or in several beneath it. */
async function run(config: Config): Promise<void> {
  if (config.WORKERS === 1) return (await import('./serve.ts')).serve(config, createLog(config.LOG_LEVEL))
  const log = createLog(config.LOG_LEVEL, standardOutput(wholeLines), { pid: process.pid })
  if (process.argv.includes('worker')) return (await import('./serve.ts')).serve(config, log)
  const { supervise } = await import('./workers.ts')
  process.exit(await supervise(config, environment, log))
}
