import { canary } from '#test/support/credentials.ts'

// Runs inside the server process, before its entry: what a careless library would do, on a signal.
const secret = () => new Error(`connect ECONNREFUSED postgres://user:${canary}@10.0.0.1/db`, { cause: canary })
process.on('SIGUSR2', () => void Promise.reject(secret()))
process.on('SIGHUP', () => {
  throw secret()
})
