import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { lookup } from 'node:dns/promises'
import { connect } from 'node:net'
import type { Document } from 'mongodb'
import { createTestApp, type TestApp } from '#test/support/app.ts'
import { type FakeBehaviour, fakeMongod, type FakeServer, silent, startFakeServer } from '#test/support/fake-servers.ts'
import { canary, stores } from '#test/support/stores.ts'
import { counted, eventually } from './peers.ts'

const names: Record<string, readonly string[]> = {
  'good.example': ['127.0.0.1'],
  'metadata.example': ['169.254.169.254'],
  'mixed.example': ['127.0.0.1', '169.254.169.254'],
}
const answers: string[][] = []
const resolve = async (host: string) => {
  if (host === 'rebind.example') return answers.shift() ?? ['169.254.169.254']
  return names[host] ?? (await lookup(host, { all: true })).map(({ address }) => address)
}
const unhandled: unknown[] = []
const note = (reason: unknown) => void unhandled.push(reason)
let app: TestApp
let recorder: FakeServer
beforeAll(async () => {
  process.on('unhandledRejection', note).on('uncaughtException', note)
  recorder = await startFakeServer(silent)
  app = await createTestApp({ overrides: { resolve }, env: { EGRESS_DENY: `*:${recorder.port}` } })
})
afterEach(() => expect(unhandled).toEqual([]))
afterAll(async () => {
  process.off('unhandledRejection', note).off('uncaughtException', note)
  await recorder?.close()
  await app?.[Symbol.asyncDispose]()
})

let databases = 0
const probe = async (connectionString: string) =>
  (await app.request('POST', '/api/platform/databases/test', { body: { type: 'mongodb', connectionString } })).body
const add = async (connectionString: string) => {
  const body = { projectRef: 'default', name: `members-${databases++}`, type: 'mongodb', connectionString }
  return (await app.request('POST', '/api/platform/databases?skipTest=true', { body })).body.id
}
const list = (id: string) => app.request('GET', `/api/platform/mongodb/${id}/databases`)
const set = (hosts: readonly unknown[], more: Document = {}) =>
  fakeMongod((port) => ({
    setName: 'rs0',
    setVersion: 1,
    me: `127.0.0.1:${port}`,
    primary: `127.0.0.1:${port}`,
    hosts: [`127.0.0.1:${port}`, ...hosts],
    ...more,
  }))
const notAllowed = { code: 'TARGET_NOT_ALLOWED', details: { reason: 'policy' } }

describe('seeds', () => {
  test('400 for one that is forbidden among three, and none is dialled', async () => {
    await using server = await startFakeServer(set([]))
    const good = `127.0.0.1:${server.port}`
    for (const bad of [
      '169.254.169.254',
      '[fe80::1]:80',
      'metadata.example',
      'mixed.example',
      `127.0.0.1:${recorder.port}`,
    ])
      for (const hosts of [
        [bad, good, good],
        [good, bad, good],
        [good, good, bad],
      ]) {
        const { error } = await probe(`mongodb://u:${canary}@${hosts.join()}/app?replicaSet=rs0`)
        expect([bad, error.code, error.details]).toEqual([
          bad,
          'TARGET_NOT_ALLOWED',
          { reason: 'policy', stage: 'policy' },
        ])
      }
    expect([server.dials, recorder.dials]).toEqual([0, 0])
  })

  test('one that can not be resolved or does not listen is passed over', async () => {
    await using server = await startFakeServer(set([]))
    const hosts = `no-such-host.invalid,127.0.0.1:1,good.example:${server.port}`
    const { stages, error } = await probe(`mongodb://${hosts}/app?replicaSet=rs0`)
    // The fake knows ping alone, so it fails after the connection was made.
    expect([stages.at(-1).name, error.code]).toEqual(['rights', 'DB_QUERY_ERROR'])
  })
})

describe('names that change their answer', () => {
  test('400 at the dial of the driver, which is checked again', async () => {
    await using server = await startFakeServer(fakeMongod(() => ({})))
    answers.push(['127.0.0.1'])
    const { error } = await probe(`mongodb://u:${canary}@rebind.example:${server.port}/app`)
    expect(error).toMatchObject(notAllowed)
    expect(server.dials).toBe(1)
  })

  const { mongoAuth } = stores()
  test.skipIf(mongoAuth === null)('400 over TLS too', async () => {
    const { port = 0, users, tlsCa = '' } = mongoAuth ?? {}
    const addresses = [['127.0.0.1']]
    const changing = async () => addresses.shift() ?? ['169.254.169.254']
    await using other = await createTestApp({ overrides: { resolve: changing } })
    const connectionString = `mongodb://${users?.root.username}:${users?.root.password}@localhost:${port}/?tls=true`
    const body = { type: 'mongodb', connectionString, config: { caCertificate: tlsCa } }
    const report = (await other.request('POST', '/api/platform/databases/test', { body })).body
    expect([report.error.code, addresses]).toEqual(['TARGET_NOT_ALLOWED', []])
  })
})

describe('members a server names', () => {
  const cases: Readonly<Record<string, () => string>> = {
    'a metadata address': () => '169.254.169.254:80',
    'a link-local IPv6 address': () => '[fe80::1]:27017',
    'an address without a port': () => '169.254.169.254',
    'a port EGRESS_DENY names': () => `127.0.0.1:${recorder.port}`,
    'the same in IPv6 spelling': () => `[::ffff:127.0.0.1]:${recorder.port}`,
  }
  for (const [name, member] of Object.entries(cases))
    for (const list of ['hosts', 'passives', 'arbiters'])
      test(`400 and no connection: ${name} among ${list}`, async () => {
        await using server = await startFakeServer(set([], { [list]: [member()] }))
        const { error } = await probe(`mongodb://127.0.0.1:${server.port}/app?replicaSet=rs0`)
        expect(error).toMatchObject(notAllowed)
        expect(recorder.dials).toBe(0)
      })

  test('a name that resolves to a forbidden address is never dialled', async () => {
    for (const host of ['metadata.example', 'mixed.example', 'good.example']) {
      await using server = await startFakeServer(
        set([`${host}:${recorder.port}`], { primary: `${host}:${recorder.port}` }),
      )
      const id = await add(`mongodb://127.0.0.1:${server.port}/app?replicaSet=rs0`)
      await list(id)
      await Bun.sleep(600)
    }
    expect(recorder.dials).toBe(0)
  })

  test('400 when the one member that could answer resolves to a forbidden address', async () => {
    const member = 'metadata.example:27017'
    await using server = await startFakeServer(
      set([], {
        isWritablePrimary: false,
        ismaster: false,
        secondary: false,
        hosts: [member],
        primary: member,
        me: member,
      }),
    )
    const { error } = await probe(`mongodb://127.0.0.1:${server.port}/app?replicaSet=rs0`)
    expect(error).toMatchObject(notAllowed)
  })

  test('what is no host and port is left out: socket paths, spaces, other types', async () => {
    for (const member of [
      '/tmp/mongodb-27017.sock',
      'x.sock',
      '%2Ftmp%2Fx.sock:1',
      'a b:1',
      'h:0',
      'h:99999',
      '',
      5,
      null,
      {},
      ['h:1'],
    ]) {
      await using server = await startFakeServer(set([member]))
      const { error } = await probe(`mongodb://127.0.0.1:${server.port}/app?replicaSet=rs0`)
      expect([member, error.code, error.details.reason]).toEqual([member, 'DB_CONNECTION_FAILED', 'protocol'])
    }
  })

  test('facts of wrong types end no process', async () => {
    const wrong: readonly Document[] = [
      { hosts: 'h' },
      { hosts: { length: 2 } },
      { me: 5 },
      { primary: {} },
      { setName: 7 },
      { setVersion: 'x', electionId: 'x' },
      { topologyVersion: 1 },
      { topologyVersion: { processId: 'x', counter: {} } },
      { $clusterTime: { clusterTime: 'x' } },
      { $clusterTime: 3 },
      { lastWrite: 1, tags: 1, logicalSessionTimeoutMinutes: 'x', maxWireVersion: 'x' },
      { maxBsonObjectSize: -1, maxMessageSizeBytes: 'x', compression: 5 },
    ]
    await Promise.all(
      wrong.map(async (facts) => {
        await using server = await startFakeServer(set([], facts))
        const report = await probe(`mongodb://127.0.0.1:${server.port}/app?replicaSet=rs0`)
        expect([facts, report.ok, report.error.code === 'INTERNAL']).toEqual([facts, false, false])
      }),
    )
  })

  test('400 when a member turns up later, and the session is not used again', async () => {
    let hosts: readonly string[] = []
    const { behaviour, open } = counted(
      fakeMongod(
        (port) => ({ setName: 'rs0', setVersion: 1, me: `127.0.0.1:${port}`, hosts: [`127.0.0.1:${port}`, ...hosts] }),
        (command) => ('listDatabases' in command ? { databases: [] } : undefined),
      ),
    )
    const wakeful: FakeBehaviour = (socket, index) => {
      sockets.push(socket)
      behaviour(socket, index)
    }
    const sockets: { destroy(): void }[] = []
    await using server = await startFakeServer(wakeful)
    const id = await add(`mongodb://127.0.0.1:${server.port}/app?replicaSet=rs0`)
    expect((await list(id)).status).toBe(200)
    hosts = [`127.0.0.1:${recorder.port}`]
    // The driver asks anew when its monitor's connection ends.
    for (const socket of sockets) socket.destroy()
    await eventually(async () => (await list(id)).body.error?.code === 'TARGET_NOT_ALLOWED', 10_000)
    expect(recorder.dials).toBe(0)
    await eventually(() => open() === 0)
  }, 20_000)
})

describe('a process without handlers', () => {
  test('ends well after a member was refused, and prints nothing of the driver', async () => {
    await using server = await startFakeServer(set([`127.0.0.1:${recorder.port}`, 'a b:1', 'metadata.invalid:1']))
    const url = `mongodb://127.0.0.1:${server.port}/app?replicaSet=rs0`
    const child = Bun.spawn(
      [process.execPath, `${import.meta.dir}/mongodb-member-child.ts`, url, `*:${recorder.port}`],
      {
        stdout: 'pipe',
        stderr: 'pipe',
        env: { PATH: process.env['PATH'] ?? '' },
      },
    )
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    expect([out, err, code]).toEqual(['TARGET_NOT_ALLOWED', '', 0])
    expect(recorder.dials).toBe(0)
  })

  test('the recording listener would have seen a connection', async () => {
    const before = recorder.dials
    const socket = connect({ host: '127.0.0.1', port: recorder.port })
    await eventually(() => recorder.dials === before + 1)
    socket.destroy()
  })
})
