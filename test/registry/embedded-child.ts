import { migrate } from '#src/registry/migrate.ts'
import { openEmbedded } from '#src/registry/embedded.ts'
import { embeddedClient } from './scratch.ts'

/** Opens the folder, then writes rows for ever, printing each number once its row is acknowledged. */
const embedded = await openEmbedded(process.argv[2] ?? '').catch((error: Error) => {
  console.log(error.message)
  return process.exit(1)
})
const sql = embeddedClient(embedded.socketPath)
await migrate(sql)
for (let row = 0; ; row++) {
  await sql`insert into platform.key_canaries (kid, sealed) values (${String(row)}, '')`
  console.log(row)
}
