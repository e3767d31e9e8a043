import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testPassword } from '#test/support/credentials.ts'
import { findCommand } from '#test/support/debian.ts'
import { reportMissing } from '#test/support/environment.ts'
import { freePorts } from '#test/support/ports.ts'
import { stores } from '#test/support/stores.ts'

/** A real memcached with a user, on a plain and a TLS port of loopback. */
export interface Memcached {
  readonly port: number
  readonly tlsPort: number
  readonly user: string
  readonly password: string
}

const attempts = 4

/** Starts one that ends when disposed, and with this process; `null` where this machine can not have it. */
export async function startMemcached(): Promise<(Memcached & AsyncDisposable) | null> {
  const command = await findCommand('memcached', 'memcached')
  if (command === null) return reportMissing('memcached', 'as root on Debian, apt-get install memcached')
  const folder = await mkdtemp(join(tmpdir(), 'memcached-test-'))
  const [user, password] = ['app', testPassword()]
  const file = (name: string) => join(folder, name)
  const { server } = stores().certificates
  await writeFile(file('users'), `${user}:${password}\n`, { mode: 0o600 })
  await writeFile(file('tls.pem'), server.cert)
  await writeFile(file('tls.key'), server.key, { mode: 0o600 })
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const [port, tlsPort] = await freePorts()
    const listen = `notls:127.0.0.1:${port},127.0.0.1:${tlsPort}`
    const tls = `ssl_chain_cert=${file('tls.pem')},ssl_key=${file('tls.key')}`
    const owner = process.getuid?.() === 0 ? ['-u', 'root'] : []
    const child = Bun.spawn(
      [command, '-m', '16', '-U', '0', '-Y', file('users'), '-l', listen, '-Z', '-o', tls, ...owner],
      { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' },
    )
    const kill = () => child.kill('SIGKILL')
    process.once('exit', kill)
    const stop = async () => {
      kill()
      process.off('exit', kill)
      await child.exited
    }
    if (await listens(port, child))
      return {
        port,
        tlsPort,
        user,
        password,
        async [Symbol.asyncDispose]() {
          await stop()
          await rm(folder, { recursive: true, force: true })
        },
      }
    await stop()
  }
  throw new Error('memcached did not start')
}

async function listens(port: number, child: Bun.Subprocess): Promise<boolean> {
  for (const until = performance.now() + 10_000; performance.now() < until && child.exitCode === null;) {
    const connected = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('error', () => resolve(false))
      socket.once('connect', () => {
        socket.destroy()
        resolve(true)
      })
    })
    if (connected) return child.exitCode === null
    await Bun.sleep(20)
  }
  return false
}
