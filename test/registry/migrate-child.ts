import postgres from 'postgres'
import { migrate } from '#src/registry/migrate.ts'

const [url = '', folder = ''] = process.argv.slice(2)
const sql = postgres(url, { max: 1, onnotice: (notice) => console.log(notice['message']) })
await migrate(sql, { folder })
