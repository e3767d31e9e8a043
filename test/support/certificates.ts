import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findCommand } from './debian.ts'
import { runToEnd } from './server-process.ts'

/** A certificate and its private key, PEM. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

/** What the tests need for TLS, made at run time and valid for two days; all PEM. */
export interface Certificates {
  readonly ca: string
  /** For `localhost` and 127.0.0.1. */
  readonly server: KeyPair
  /** Signed by the same CA, for `other.example` alone. */
  readonly other: KeyPair
  /** A CA that signed none of them. */
  readonly unrelatedCa: string
}

const config = `
[req]
distinguished_name = name
prompt = no
[name]
CN = Bun API test
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
[other]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:other.example
`

/** Makes the certificates with `openssl` in the folder, as `<name>.crt` and `<name>.key`. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const openssl = await findCommand('openssl', 'openssl')
  if (openssl === null) throw new Error('openssl is missing. Remedy: apt-get install openssl')
  await writeFile(join(folder, 'openssl.cnf'), config)
  const run = (...args: string[]) => runToEnd([openssl, ...args], null, folder)

  const newKey = ['-config', 'openssl.cnf', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const authority = (name: string) =>
    run('req', '-x509', '-days', '2', ...newKey, ...subject(name), '-extensions', 'authority', ...files(name))
  const signed = async (name: string) => {
    await run('req', '-new', ...newKey, ...subject(name), '-keyout', `${name}.key`, '-out', `${name}.csr`)
    const issuer = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-set_serial', `${name.length}${Date.now()}`]
    const extensions = ['-extfile', 'openssl.cnf', '-extensions', name]
    await run('x509', '-req', '-days', '2', ...issuer, ...extensions, '-in', `${name}.csr`, '-out', `${name}.crt`)
  }
  await Promise.all([authority('ca'), authority('unrelated')])
  await Promise.all([signed('server'), signed('other')])

  const read = (name: string) => readFile(join(folder, name), 'utf8')
  const [ca, unrelatedCa] = await Promise.all([read('ca.crt'), read('unrelated.crt')])
  const [server, other] = await Promise.all(
    (['server', 'other'] as const).map(async (name) => ({
      cert: await read(`${name}.crt`),
      key: await read(`${name}.key`),
    })) as [Promise<KeyPair>, Promise<KeyPair>],
  )
  return { ca, server, other, unrelatedCa }
}

/** Issues a certificate for these names, as `DNS:a.example, IP:10.0.0.1`, by the CA that `makeCertificates` made in the folder. */
export async function issueCertificate(authority: string, subjectAltName: string): Promise<KeyPair> {
  const folder = await mkdtemp(join(tmpdir(), 'bun-api-certificate-'))
  try {
    const run = (...args: string[]) => runToEnd(['openssl', ...args], null, folder)
    const lines = ['basicConstraints = critical, CA:FALSE', `subjectAltName = ${subjectAltName}`]
    await writeFile(join(folder, 'extensions.cnf'), `${lines.join('\n')}\n`)
    const settings = ['-config', join(authority, 'openssl.cnf'), ...subject('issued')]
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'key.pem']
    await run('req', '-new', ...settings, ...newKey, '-out', 'request.pem')
    const issuer = [
      '-CA',
      join(authority, 'ca.crt'),
      '-CAkey',
      join(authority, 'ca.key'),
      '-set_serial',
      `${Date.now()}`,
    ]
    const signing = ['-req', '-days', '2', '-extfile', 'extensions.cnf', '-in', 'request.pem', '-out', 'cert.pem']
    await run('x509', ...signing, ...issuer)
    const read = (name: string) => readFile(join(folder, name), 'utf8')
    return { cert: await read('cert.pem'), key: await read('key.pem') }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function subject(name: string): readonly string[] {
  return ['-subj', `/CN=Bun API test ${name}`]
}

function files(name: string): readonly string[] {
  return ['-keyout', `${name}.key`, '-out', `${name}.crt`]
}
