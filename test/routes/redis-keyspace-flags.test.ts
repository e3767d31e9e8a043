import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import { classesFor, publishes } from '#src/engines/redis/watch/keyspace-flags.ts'
import { describeWith } from '#test/support/describe-with.ts'
import { errorOf, eventsOf, nextOf } from '#test/support/event-stream.ts'
import { redisApp } from '#test/support/redis-app.ts'

const letters = [...'g$lshzxetmn']

describe('the flags of notify-keyspace-events', () => {
  const cases = [
    ['', [], false],
    ['KE', [], false],
    ['Kx', [], true],
    ['AKE', ['set', 'expired', 'del'], true],
    ['Kx', ['set'], false],
    ['Kx', ['expired'], true],
    ['Kx', ['expired', 'set'], false],
    ['Eg$', ['set', 'del'], true],
    ['AKE', ['keymiss'], false],
    ['AKEm', ['keymiss'], true],
    ['AKE', ['new'], false],
    ['Kd', ['json.set'], true],
    ['Kx', ['of a module'], true],
    ['KE', ['of a module'], false],
  ] as const
  for (const [flags, events, may] of cases) {
    test(`${may ? 'may' : 'can not'} publish ${events.join(' and ') || 'anything'} with ${JSON.stringify(flags)}`, () => {
      expect(publishes(flags, new Set(events))).toBe(may)
    })
  }

  test('what is to be switched on publishes what was asked for', () => {
    for (const events of [[], ['set'], ['keymiss', 'del'], ['new', 'keymiss'], ['evicted', 'of a module']]) {
      expect([events, publishes(`K${classesFor(new Set(events))}`, new Set(events))]).toEqual([events, true])
    }
    expect([classesFor(new Set(['set'])), classesFor(new Set(['new', 'set', 'keymiss']))]).toEqual(['A', 'Amn'])
  })
})

describeWith('redis', 'keyspace events by their names', (store) => {
  const { app, raw, id } = redisApp(store, 8)
  const listener = new Redis({ host: store.host, port: store.port, password: store.password, lazyConnect: true })
  const setting = (flags: string) => raw.config('SET', 'notify-keyspace-events', flags)
  let seen = new Set<string>()
  beforeAll(async () => {
    listener.on('pmessage', (_pattern, channel: string) => seen.add(channel.slice(channel.indexOf(':') + 1)))
    await listener.psubscribe('__keyevent@8__:*')
  })
  afterAll(async () => {
    await listener.punsubscribe()
    await listener.config('SET', 'notify-keyspace-events', '')
    listener.disconnect()
  })

  const commands = `SET a 1|SETRANGE a 0 2|SETBIT a 1 1|APPEND a 0|SET n 1|INCR n|INCRBYFLOAT n 1|PFADD p x|GET absent
    DEL a|SET a 1|RENAME a b|COPY b c|MOVE c 7|EXPIRE b 100|PERSIST b|LPUSH l 3 1|RPUSH l 2|LINSERT l BEFORE 2 5|LSET l 0 4
    LREM l 1 5|LPOP l|RPOP l|RPUSH l 1 2|SORT l STORE m|LTRIM l 0 0|SADD s 1 2 3|SADD t 1|SREM s 1|SPOP s|SINTERSTORE u t
    SUNIONSTORE u s t|SDIFFSTORE u t|HSET h f 1|HINCRBY h f 1|HINCRBYFLOAT h f 1|HDEL h f|ZADD z 1 a 2 b 3 c 4 d 5 e 6 f
    ZINCRBY z 1 a|ZREM z a|ZREMRANGEBYSCORE z 2 2|ZREMRANGEBYRANK z 0 0|ZREMRANGEBYLEX z [d [d|ZPOPMIN z|ZPOPMAX z|ZADD z 1 a
    ZUNIONSTORE y 1 z|ZINTERSTORE y 1 z|ZDIFFSTORE y 1 z|ZRANGESTORE y z 0 -1|GEOADD o 1 1 a
    GEOSEARCHSTORE q o FROMMEMBER a BYRADIUS 1 m|GEORADIUS o 1 1 100 km STORE q|XADD x 1-1 f v|XADD x 2-1 f v
    XTRIM x MAXLEN 1|XDEL x 2-1|XSETID x 9-9|XGROUP CREATE x g $|XGROUP CREATECONSUMER x g c|XGROUP SETID x g $
    XGROUP DELCONSUMER x g c|XGROUP DESTROY x g|SET gone 1 PX 1`
    .split(/\||\n/)
    .map((command) => command.trim().split(' '))
    .map(([name = '', ...args]) => [name.toLowerCase(), ...args])

  describe('GET /redis/{databaseId}/keyspace-events', () => {
    const watch = (query: string) => app.stream('GET', `/api/platform/redis/${id()}/keyspace-events?${query}`)

    for (const [flags, query, needed] of [
      ['Kx', 'pattern=k*&events=set', 'KA'],
      ['Kx', 'pattern=k*&events=expired,set', 'KA'],
      ['Eg', 'events=hset', 'EA'],
      ['KA', 'events=del,keymiss', 'EAm'],
      ['EA', 'events=new', 'EAn'],
    ] as const) {
      test(`400 ${query} where ${flags} is all that is published`, async () => {
        await setting(flags)
        const response = await watch(query)
        const error = await errorOf(response)
        expect([response.status, error.code, error.details]).toEqual([
          400,
          'DB_UNSUPPORTED',
          { setting: 'notify-keyspace-events', needed },
        ])
        expect(error.message).toContain(`notify-keyspace-events ${needed}`)
      })
    }

    test('200 what is published of them, also names that are a module’s', async () => {
      for (const [flags, query] of [
        ['Kx', 'pattern=k*&events=expired'],
        ['Eg', 'events=del,of-a-module'],
      ] as const) {
        // prettier-ignore
        await setting(flags)
        const events = eventsOf(await watch(query))
        expect((await nextOf(events)).event).toBe('ready')
        await raw.set('k1', '1', 'PX', 1)
        while ((await raw.exists('k1')) === 1) await Bun.sleep(1)
        await raw.set('k1', '1')
        await raw.del('k1')
        expect((await nextOf(events)).data).toEqual({ key: 'k1', event: flags === 'Kx' ? 'expired' : 'del' })
        await events.return(undefined)
      }
    })
  })

  for (const letter of letters.filter((one) => one !== 'e')) {
    test(`what Redis publishes with ${letter} is known, and by no other class`, async () => {
      await raw.flushdb()
      await raw.select(7)
      await raw.flushdb()
      await raw.select(8)
      await setting(`E${letter}`)
      seen = new Set()
      const replies = await raw.pipeline(commands).exec()
      expect(replies?.flatMap(([error]) => (error === null ? [] : [error.message]))).toEqual([])
      while ((await raw.exists('gone')) === 1) await Bun.sleep(1)
      // Published behind all of them.
      await setting('E$')
      await raw.set('end', '', 'EX', 100)
      await raw.setbit('end', 0, 1)
      const others = letters.filter((one) => one !== letter).join('')
      const names = async () => {
        await listener.ping()
        return [...seen]
      }
      while (!(await names()).includes('setbit')) await Bun.sleep(1)
      if (letter !== '$') for (const name of ['set', 'setbit']) seen.delete(name)
      expect(seen.size).toBeGreaterThan(0)
      for (const name of seen) {
        const event = new Set([name])
        expect([name, publishes(`E${letter}`, event), publishes(`E${others}`, event)]).toEqual([name, true, false])
      }
    })
  }
})
