import { beforeAll, expect, test } from 'bun:test'
import { describeWith } from '#test/support/describe-with.ts'
import { clusterApp } from '#test/support/redis-app.ts'

describeWith('redis', 'the keyspace of a cluster', () => {
  const total = 600
  const { app, path } = clusterApp()
  beforeAll(async () => {
    for (let n = 0; n < total; n++)
      await app.request('POST', path('set'), { body: { key: `session:${n}`, value: 'x' } })
  }, 60_000)

  const get = async (rest: string) => (await app.request('GET', path(rest))).body

  test('200 every key of every node, in pages and as a tree', async () => {
    const found: string[] = []
    let cursor = ''
    do {
      const { data, pagination, db_size } = await get(`keys?count=50${cursor}`)
      expect(db_size).toBe(total)
      found.push(...data.map(({ key }: { key: string }) => key))
      cursor = pagination.has_more ? `&cursor=${encodeURIComponent(pagination.next_cursor)}` : ''
    } while (cursor !== '')
    expect([found.length, new Set(found).size]).toEqual([total, total])
    const tree = await get('keys/tree')
    expect([tree.complete, tree.data]).toEqual([
      true,
      [{ name: 'session', level: 1, keys: total, is_key: false, types: { string: total } }],
    ])
  })

  test('200 one database with the keys of all nodes, and a memory report of them', async () => {
    expect(await get('databases')).toEqual({
      data: [{ db: 0, keys: total, expires: null, avg_ttl_ms: null }],
      count: 16,
      usable: 1,
      source: 'dbsize',
      complete: true,
    })
    const report = await get('memory?samples=10000')
    expect([report.sampled, report.complete, report.prefixes[0].keys]).toEqual([total, true, total])
  })

  test('200 keys of many slots are changed and deleted at once, by list and by pattern', async () => {
    const change = (what: string, body: unknown) => app.request('POST', path(`keys/${what}`), { body })
    const keys = Array.from({ length: 100 }, (_, n) => `session:${n}`)
    expect((await change('ttl', { keys: [...keys, 'absent'], ttlMs: 600_000 })).body).toEqual({
      changed: 100,
      unchanged: 0,
      absent: 1,
    })
    expect((await change('delete', { keys })).body).toEqual({ deleted: 100, absent: 0 })
    expect((await change('delete', { pattern: 'session:*', dryRun: true })).body.count).toBe(total - 100)
    expect((await change('delete', { pattern: 'session:*' })).text).toContain('event: done\n')
    expect((await get('keys')).db_size).toBe(0)
  })
})
