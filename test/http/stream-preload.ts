import { pace } from '#src/http/stream-body.ts'

// Runs inside the server process, before its entry: a test need not wait for what takes seconds or an hour.
Object.assign(pace, JSON.parse(process.env['TEST_STREAM_PACE'] ?? '{}'))
