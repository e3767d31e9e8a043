import { beforeEach, expect, test } from 'bun:test'
import { describeWith } from '#test/support/describe-with.ts'
import { redisApp } from '#test/support/redis-app.ts'

describeWith('redis', 'a read-only database and writes that would change nothing', (store) => {
  const { app, raw, registered } = redisApp(store, 8)
  const readOnly = registered({ config: { readOnly: true } })
  beforeEach(async () => {
    await raw.flushdb()
    await raw.set('s', 'a')
    await raw.rpush('l', 'a')
  })
  for (const [method, path, body] of [
    ['POST', 'compare-and-set', { key: 's', ifEqual: 'b', value: 'c' }],
    ['POST', 'get-delete', { key: 'absent' }],
    ['POST', 'set-range', { key: 'absent', offset: 5, value: 'x' }],
    ['POST', 'lists/pop', { key: 'absent' }],
    ['POST', 'lists/push', { key: 'l', values: ['b'], onlyNew: true }],
    ['POST', 'lists/set', { key: 'l', index: 0, value: 'c', expected: 'b' }],
    ['POST', 'lists/remove', { key: 'l', index: 9 }],
    ['POST', 'hashes', { key: 'absent', set: [{ field: 'a', value: 'b' }], mustExist: true }],
    ['PUT', 'key', { key: 'absent', type: 'list', value: ['a'], onlyExisting: true }],
  ] as const) {
    test(`403 ${path}`, async () => {
      const answer = await app.request(method, `/api/platform/redis/${readOnly()}/${path}`, { body })
      expect([answer.status, answer.body.error?.code]).toEqual([403, 'DB_READ_ONLY'])
    })
  }
})
