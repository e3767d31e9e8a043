import { expect, test } from 'bun:test'
import { Double, Long, MongoClient } from 'mongodb'
import { createScratchDatabase } from '#test/support/app.ts'
import { findCommand } from '#test/support/debian.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { stores } from '#test/support/stores.ts'
import { clientOf, productionEnvironment, startServer } from '../server.ts'
import { type Block, claimBlock, documentText } from './blocks.ts'
import { execute } from './clone.ts'
import { redisAnswers } from './redis-answers.ts'

type Json = Readonly<Record<string, unknown>>

/** Runs the curls of README.md and of the four engines' pages against servers and stores, and compares the answers with what they say. */
export function tryGuides(claimDocument: (document: string) => readonly Block[]): void {
  const first = claimBlock('README.md', 'export KEY=…')
  const claimed = (name: string) => ({ name, blocks: claimDocument(`docs/${name}.md`) })
  const [redisPage, postgresPage, mongoPage, peerPage] = [
    claimed('redis'),
    claimed('postgres'),
    claimed('mongodb'),
    claimed('bun-api'),
  ]

  describeWith('redis', 'README.md and docs/redis.md', (redis) => {
    const redisUrl = ['redis://default:password@127.0.0.1:6379/0', redis.url] as const

    test('the first requests work as they are written', async () => {
      await using target = await createScratchDatabase(stores().postgres18)
      // A reader puts in what was answered before.
      const answered = `$(printf '%s' "$LAST" | sed 's/.*"id":"\\([^"]*\\)".*/\\1/')`
      const script = first.script
        .replace('KEY=…', 'KEY=$BUN_API_KEY')
        .replace('ID=…', `ID=${answered}`)
        .replace('PG=…', `PG=${answered}`)
        .replaceAll(/^curl (?:[^\n]*\\\n)*[^\n]*/gm, (command) => `LAST=$(${command}); printf '%s\\n' "$LAST"`)
        .replaceAll('curl ', 'curl -sS --fail-with-body ')
      const places = [redisUrl, ['postgresql://postgres:password@127.0.0.1:5432/postgres', target.url]] as const
      expect(await answersOf(script, places)).toEqual([
        expect.objectContaining({ name: 'cache', type: 'redis' }),
        expect.objectContaining({ key: 'greeting', written: true }),
        expect.objectContaining({ key: 'greeting', value: 'hello' }),
        expect.objectContaining({ data: [expect.objectContaining({ key: 'greeting', type: 'string' })] }),
        expect.objectContaining({ name: 'main', type: 'postgres' }),
        expect.objectContaining({ rows: [{ big: '9007199254740993', now: expect.any(String) }] }),
        [],
      ])
    })

    test('docs/redis.md works as it is written', async () => {
      // A logical database of its own, as empty as a new Redis.
      const own = redis.url.replace(/\/0$/, '/12')
      const client = new Bun.RedisClient(own)
      try {
        await client.send('FLUSHDB', [])
        const answers = await answersOf(scriptOf(redisPage), [[redisUrl[0], own]])
        expect(answers).toMatchObject(redisAnswers)
      } finally {
        await client.send('FLUSHDB', [])
        client.close()
      }
    })
  })

  test('docs/postgres.md works as it is written', async () => {
    await using target = await createScratchDatabase(stores().postgres18)
    const place = ['postgresql://postgres:password@127.0.0.1:5432/postgres', target.url] as const
    expect(await answersOf(scriptOf(postgresPage), [place])).toMatchObject([
      { name: 'main', type: 'postgres' },
      { rows: [{ big: '9007199254740993', document: { a: [1] } }] },
      { rows: [] },
      [{ schema: 'public', name: 'notes' }],
    ])
  })

  test('docs/bun-api.md works as it is written', async () => {
    await using registry = await createScratchDatabase(stores().postgres18)
    const env = productionEnvironment(registry.url)
    await using peer = startServer({ env })
    const place = ['127.0.0.1:3001', new URL(await peer.url).host] as const
    const answers = await answersOf(scriptOf(peerPage), [place], { PEER_KEY: env.BUN_API_KEY })
    const shown = /`health` answers .*?`(\{.*?\})`,/s.exec(await documentText('docs/bun-api.md'))?.[1] ?? ''
    const health: Json = JSON.parse(shown)
    expect(answers[1]).toEqual({ ...health, latency_ms: expect.any(Number) })
    const info = await (await clientOf(await peer.url, env.BUN_API_KEY).request('GET', '/info')).json()
    expect(answers[2]).toEqual({ ...(info as Json), uptime_seconds: expect.any(Number) })
  })

  describeWith('mongo', 'docs/mongodb.md', (mongo) => {
    test('works as it is written, and answers the document it shows', async () => {
      const shown: Json = JSON.parse(/```json\n([^]*?)```/.exec(await documentText('docs/mongodb.md'))?.[1] ?? '')
      const name = `t_${crypto.randomUUID().replaceAll('-', '')}`
      await using client = new MongoClient(mongo.url)
      const at = new Date('2026-11-22T12:00:00Z')
      const task = { _id: 1, title: 'write', hours: new Double(2), views: Long.fromNumber(7), at }
      await client.db(name).collection<typeof task>('tasks').insertOne(task)
      try {
        const place = ['mongodb://127.0.0.1:27017/app', `mongodb://127.0.0.1:${mongo.port}/${name}`] as const
        const answers = await answersOf(scriptOf(mongoPage), [place])
        expect(answers).toMatchObject([
          { name: 'mongo-primary', type: 'mongodb' },
          { data: expect.arrayContaining([expect.objectContaining({ name })]) },
          { data: [{ name: 'tasks' }] },
          expect.any(Object),
          { data: [shown] },
          { data: [{ _id: 'write', views: { $numberLong: '7' } }], truncated: false },
          { data: [{ ...shown, _id: { $numberInt: '1' }, at: { $date: { $numberLong: `${at.getTime()}` } } }] },
        ])
      } finally {
        await client.db(name).dropDatabase()
      }
    })
  })
}

interface Page {
  readonly blocks: readonly Block[]
}

/** All blocks of a page as one script, which prints each answer in a line. */
function scriptOf({ blocks }: Page): string {
  const script = blocks.map((block) => block.script).join('\n')
  return script.replaceAll('curl -s ', "curl -sS --fail-with-body -w '\\n' ")
}

/** Runs it beside a server of its own, the written places replaced by real ones; the answers are its lines, as JSON. */
async function answersOf(
  script: string,
  places: readonly (readonly [string, string])[],
  more: Readonly<Record<string, string>> = {},
): Promise<readonly unknown[]> {
  expect(await findCommand('curl', 'curl')).not.toBeNull()
  await using registry = await createScratchDatabase(stores().postgres18)
  const { BUN_API_KEY, ...env } = productionEnvironment(registry.url)
  await using server = startServer({ env: { ...env, BUN_API_KEY } })
  const all = [['http://127.0.0.1:3000', await server.url] as const, ...places]
  for (const [written] of all) expect(script).toContain(written)
  const real = all.reduce((text, [written, place]) => text.replaceAll(written, place), script)
  const own = { PATH: process.env['PATH'] ?? '', BUN_API_KEY, ...more }
  const { code, output, errors } = await execute(['bash', '-euc', real], import.meta.dir, own)
  expect({ code, said: code === 0 ? '' : output + errors }).toEqual({ code: 0, said: '' })
  return output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)
}
