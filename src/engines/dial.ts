import { lookup } from 'node:dns/promises'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { ApiError } from '../errors.ts'
import { connectError, failed, timedOut } from './dial-errors.ts'
import { refusalOf, type EgressPolicy } from './egress.ts'
import { type Call, remainingMs, type TlsMode, untilAborted } from './engine.ts'
import { type HostPort, resolveSrv, type SrvAnswer, type SrvResolver, systemResolver } from './srv.ts'
import { encrypt } from './tls.ts'

/** Opens one connected, and where the target says so encrypted, socket, to the target's first host or the one given. The caller owns it. */
export type Dial = (wire: Wire, call: Call, to?: HostPort) => Promise<Socket>

/** The way out of this server for one target: every address is checked against the dial policy, every time. */
export interface Network {
  readonly dial: Dial
  /** The checked addresses of any host, for drivers that dial themselves. Throws `TARGET_NOT_ALLOWED`. */
  resolve(to: HostPort, call: Call): Promise<readonly string[]>
  /** Why a literal address may not be dialled. */
  refusalOf(to: HostPort): ApiError | undefined
  /** The hosts behind a `+srv` name. */
  resolveSrv(host: string, call: Call): Promise<SrvAnswer>
}

/** What an engine's protocol needs of a socket. */
export interface Wire {
  /** Asks the server for TLS in clear text first (PostgreSQL's SSLRequest); answers whether it agreed. */
  readonly requestTls?: (socket: Socket, call: Call) => Promise<boolean>
  /** First bytes a server of this protocol can send; anything else is another protocol. */
  readonly firstBytes: ReadonlySet<number>
}

export interface DialOptions {
  readonly host: string
  readonly port: number
  readonly tls: TlsMode
  readonly caCertificate?: string | undefined
  /** Absent for the operator's own stores, which no caller can name. */
  readonly policy?: EgressPolicy | undefined
  readonly connectTimeoutMs: number
  /** getaddrinfo unless a test gives another. */
  readonly resolve?: Resolve | undefined
  readonly srv?: SrvResolver | undefined
}

export type Resolve = (host: string) => Promise<readonly string[]>

const getAddresses: Resolve = async (host) => (await lookup(host, { all: true })).map(({ address }) => address)

/** Makes the network of a target. Each dial resolves anew, checks every answer, and connects to the checked address itself. */
export function createNetwork(options: DialOptions): Network {
  const { policy } = options
  return {
    async dial(wire, call, to = options) {
      const { host, port } = to
      call.stage?.('policy')
      const addresses = await resolveAllowed({ ...options, host, port }, call)
      call.stage?.('tcp')
      const socket = await connectFirst(addresses, { ...options, host, port }, call)
      try {
        const ready = options.tls === 'off' ? socket : await encrypt(socket, { ...options, host, port }, wire, call)
        watchFirstByte(ready, wire)
        return ready
      } catch (error) {
        socket.destroy()
        throw error
      }
    },
    resolve: ({ host, port }, call) => resolveAllowed({ ...options, host, port }, call),
    refusalOf: ({ host, port }) => policy && refuse(policy, host, host, port),
    resolveSrv: (host, call) => resolveSrv(host, policy?.srvSuffixes ?? [], options.srv ?? systemResolver, call),
  }
}

async function resolveAllowed(options: DialOptions, call: Call): Promise<readonly string[]> {
  const { host, port, policy } = options
  const literal = isIP(host) !== 0
  if (!literal) call.stage?.('dns')
  const addresses = literal ? [host] : await resolveHost(host, options.resolve ?? getAddresses, call)
  if (policy === undefined) return addresses
  for (const address of addresses) {
    const refused = refuse(policy, host, address, port)
    if (refused === undefined) continue
    call.stage?.('policy')
    throw refused
  }
  return addresses
}

function refuse(policy: EgressPolicy, host: string, address: string, port: number): ApiError | undefined {
  const refusal = refusalOf(policy, host, address, port)
  if (refusal === undefined) return undefined
  return new ApiError('TARGET_NOT_ALLOWED', `This server may not connect there: ${refusal}.`, {
    details: { reason: 'policy' },
  })
}

async function resolveHost(host: string, resolve: Resolve, call: Call): Promise<readonly string[]> {
  try {
    const addresses = await untilAborted(resolve(host), call.signal)
    if (addresses.length > 0) return addresses
  } catch (cause) {
    if (call.signal.aborted) throw timedOut('The host name could not be resolved in time.', cause)
    throw failed(
      'dns',
      'The host name can not be resolved. Check its spelling, and that this server is in the same private network.',
      cause,
    )
  }
  throw failed('dns', 'The host name has no address.')
}

// A name may have several addresses of which only some listen (localhost: ::1 and 127.0.0.1): each gets its share of the time.
async function connectFirst(addresses: readonly string[], options: DialOptions, call: Call): Promise<Socket> {
  const until = performance.now() + Math.min(options.connectTimeoutMs, remainingMs(call))
  let failure: unknown
  for (const [index, address] of addresses.entries()) {
    const share = (until - performance.now()) / (addresses.length - index)
    if (share <= 0) break
    try {
      return await connectOne(address, options.port, share, call.signal)
    } catch (error) {
      if (call.signal.aborted) throw error
      failure = error
    }
  }
  throw (
    failure ??
    timedOut('The host did not answer in time. Check host and port, and that a firewall lets this server through.')
  )
}

function connectOne(address: string, port: number, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  const sentence = 'The host did not answer in time. Check host and port, and that a firewall lets this server through.'
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host: address, port })
    const finish = (settle: () => void) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      socket.off('error', onError)
      settle()
    }
    const giveUp = (error: unknown) =>
      finish(() => {
        socket.on('error', () => undefined)
        socket.destroy()
        reject(error)
      })
    const onError = (cause: Error) => giveUp(connectError(cause))
    const abort = () => giveUp(timedOut(sentence, signal.reason))
    const timer = setTimeout(() => giveUp(timedOut(sentence)), timeoutMs)
    socket.once('error', onError)
    socket.once('connect', () => finish(() => resolve(socket)))
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
  })
}

// The protocols here let the client speak first, so the server's first byte is the first thing a driver would read. Looking at it
// tells another protocol, or a server that wanted TLS (its alert record begins with 0x15), from a driver's parse error.
function watchFirstByte(socket: Socket, wire: Wire): void {
  socket.once('data', (chunk: Buffer) => {
    const first = chunk[0]
    if (first === undefined || wire.firstBytes.has(first)) return
    socket.destroy(
      first === 0x15
        ? failed('tls', 'The server expects TLS on this port. Use the TLS form of the connection.')
        : failed('protocol', 'The server speaks another protocol on this port. Check port and type.'),
    )
  })
}
