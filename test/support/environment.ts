/** Deletes every `PG*` variable: drivers read them as defaults, and a test must not depend on the shell it runs in. */
export function deletePostgresVariables(): void {
  for (const name of Object.keys(process.env)) {
    if (name.startsWith('PG')) delete process.env[name]
  }
}

/** The small, equal environment of every store: no locale, time zone or library path of this shell. */
export const storeEnvironment = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' } as const

/** Null where a store may be missing, after one loud line with the remedy; with `CI=true` it throws instead. */
export function reportMissing(store: string, remedy: string): null {
  const line = `${store} is missing. Remedy: ${remedy}`
  if (process.env['CI'] === 'true') throw new Error(line)
  console.error(`\n!!! SKIPPED: ${line}\n`)
  return null
}
