import { describe, expect, test } from 'bun:test'
import { once } from 'node:events'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { Redis } from 'ioredis'
import postgres from 'postgres'
import { describeWith } from './describe-with.ts'
import { canary, stores } from './stores.ts'

const { certificates } = stores()

for (const name of ['postgres18', 'postgres15'] as const) {
  describeWith(name, name, (store) => {
    const query = async (options: postgres.Options<{}>, text: string) => {
      const sql = postgres({
        ...store,
        database: store.database,
        max: 1,
        fetch_types: false,
        onnotice() {},
        ...options,
      })
      try {
        return (await sql.unsafe<Record<string, unknown>[]>(text)).map((row) => ({ ...row }))
      } finally {
        await sql.end({ timeout: 1 })
      }
    }
    const encrypted = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'

    test('answers in plain text', async () => {
      expect(await query({ ssl: false }, encrypted)).toEqual([{ ssl: false }])
    })

    test('answers through its URL', async () => {
      const sql = postgres(store.url, { max: 1, fetch_types: false })
      expect([...(await sql`select current_user::text as name`)]).toEqual([{ name: store.user }])
      await sql.end()
    })

    test.each(['127.0.0.1', 'localhost'])('answers over verified TLS as %s', async (host) => {
      const ssl = { ca: store.tlsCa, rejectUnauthorized: true }
      expect(await query({ host, ssl }, encrypted)).toEqual([{ ssl: true }])
    })

    test('is refused by a client that trusts another CA', async () => {
      const ssl = { ca: certificates.unrelatedCa, rejectUnauthorized: true }
      await expect(query({ ssl }, encrypted)).rejects.toThrow()
    })

    test('says its version', () => {
      expect(store.version).toMatch(name === 'postgres15' ? /^15\./ : /^\d+\.\d+$/)
    })

    test('its reader reads the catalog and creates nothing', async () => {
      const { user, password } = store.reader
      const rights = `select rolsuper, rolcreatedb, rolcreaterole, has_schema_privilege('public', 'create') as creates
        from pg_catalog.pg_roles where rolname = current_user`
      expect(await query({ user, password }, rights)).toEqual([
        { rolsuper: false, rolcreatedb: false, rolcreaterole: false, creates: false },
      ])
      await expect(query({ user, password }, 'create table public.t ()')).rejects.toMatchObject({ code: '42501' })
    })

    test('refuses a wrong password', async () => {
      await expect(query({ password: `${canary}-wrong` }, 'select 1')).rejects.toMatchObject({ code: '28P01' })
    })

    test('its passwords hold the canary', () => {
      expect([store.password, store.reader.password].filter((password) => !password.includes(canary))).toEqual([])
    })
  })
}

describeWith('redis', 'redis', (store) => {
  const command = async (options: object, words: readonly [string, ...string[]]) => {
    const redis = new Redis({ ...address, ...options, lazyConnect: true, enableReadyCheck: false, retryStrategy: null })
    redis.on('error', () => {})
    try {
      await redis.connect()
      return await redis.call(...words)
    } finally {
      redis.disconnect()
    }
  }
  const address = { host: store.host, port: store.port, password: store.password }
  const limited = { ...store.limited }

  test('answers in plain text', async () => {
    expect(await command({}, ['ECHO', 'hello'])).toBe('hello')
  })

  test('answers over verified TLS', async () => {
    const tls = { ca: store.tlsCa, rejectUnauthorized: true }
    expect(await command({ port: store.tlsPort, tls }, ['ECHO', 'hello'])).toBe('hello')
  })

  test('is refused by a client that trusts another CA', async () => {
    const tls = { ca: certificates.unrelatedCa, rejectUnauthorized: true }
    await expect(command({ port: store.tlsPort, tls }, ['PING'])).rejects.toThrow()
  })

  test('its limited user reads and writes', async () => {
    expect(await command(limited, ['SET', 'harness:limited', '1', 'EX', '10'])).toBe('OK')
  })

  test.each(['INFO', 'CONFIG GET dir', 'ACL LIST'])('its limited user has no %s', async (line) => {
    const [name = '', ...args] = line.split(' ')
    await expect(command(limited, [name, ...args])).rejects.toThrow(/^NOPERM/)
  })

  test('refuses a wrong password', async () => {
    await expect(command({}, ['AUTH', 'default', `${canary}-wrong`])).rejects.toThrow(/^WRONGPASS/)
  })

  test('its passwords hold the canary', () => {
    expect([store.password, store.limited.password].filter((password) => !password.includes(canary))).toEqual([])
  })
})

describeWith('redisOpen', 'redisOpen', (store) => {
  test('answers without a password', async () => {
    const socket = connect(store.port, store.host)
    socket.write('PING\r\n')
    const [answer] = await once(socket, 'data')
    socket.destroy()
    expect(`${answer}`).toBe('+PONG\r\n')
  })
})

for (const [name, version, commands] of [
  ['valkey', /^valkey_version:(9|\d{2,})\./m, ['hpexpire', 'hsetex']],
  ['redisModules', /^redis_version:/m, ['json.get', 'json.merge', 'bf.add']],
] as const) {
  describeWith(name, name, (store) => {
    const ask = async (options: object, ...words: readonly [string, ...string[]]) => {
      const { host, port } = store
      const redis = new Redis({ host, port, ...options, lazyConnect: true, retryStrategy: null })
      redis.on('error', () => {})
      return await redis.call(...words).finally(() => redis.disconnect())
    }
    const { password } = store

    test('answers with its password alone, which holds the canary', async () => {
      expect(await ask({ password }, 'INFO', 'server')).toMatch(version)
      await expect(ask({}, 'INFO', 'server')).rejects.toThrow()
      expect(password).toContain(canary)
    })

    test('has what it is there for', async () => {
      const known = (await ask({ password }, 'COMMAND', 'INFO', ...commands)) as (readonly unknown[] | null)[]
      expect(known.map((entry) => entry?.[0])).toEqual([...commands])
    })
  })
}

describe('certificates', () => {
  const handshake = async (pair: { cert: string; key: string }, servername: string, ca: string) => {
    using server = Bun.listen({ hostname: '127.0.0.1', port: 0, tls: pair, socket: { data() {} } })
    const socket = connectTls({ host: '127.0.0.1', port: server.port, ca, servername })
    try {
      await once(socket, 'secureConnect')
      return 'trusted'
    } catch (error) {
      return (error as { code: string }).code
    } finally {
      socket.destroy()
    }
  }
  const { ca, server, other, unrelatedCa } = certificates

  test.each([
    ['the server as localhost', server, 'localhost', ca, 'trusted'],
    ['the server as another host', server, 'other.example', ca, 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['the other host by its own name', other, 'other.example', ca, 'trusted'],
    ['the other host as localhost', other, 'localhost', ca, 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['the server through an unrelated CA', server, 'localhost', unrelatedCa, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  ])('%s', async (_, pair, servername, authority, outcome) => {
    expect(await handshake(pair, servername, authority)).toBe(outcome)
  })
})

test('no PG variable reaches a test', () => {
  expect(Object.keys(process.env).filter((name) => name.startsWith('PG'))).toEqual([])
})
