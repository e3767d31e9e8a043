import { isIP } from 'node:net'
import { ApiError } from '../../errors.ts'
import { failed } from '../dial-errors.ts'
import { type Call, callWithin, type Limits, remainingMs, type ServerInfo, type Session } from '../engine.ts'
import type { Target } from '../target.ts'
import { isUnreachable, refusalOf, translate } from './errors.ts'
import { defaultPorts } from './options.ts'
import { type PeerBody, readBody } from './values.ts'

export interface PeerHealth {
  readonly ok: boolean
  readonly status: number
  readonly latency_ms: number
  readonly body: PeerBody
}

/** Another server that answers `/health` and `/info`. HTTP needs no standing connection: each request is dialled and checked anew. */
export interface BunApiSession extends Session {
  /** `GET /health`; `ok` when the status is 2xx. */
  health(call: Call): Promise<PeerHealth>
  /** `GET /info`, which has to be a JSON object. */
  peerInfo(call: Call): Promise<Readonly<Record<string, unknown>>>
}

interface PeerAnswer {
  readonly status: number
  readonly body: PeerBody
}

export async function openSession(target: Target, limits: Limits, call: Call): Promise<BunApiSession> {
  let closed = false
  // Policy, TCP and TLS as stages of their own, on a socket that is closed again.
  const socket = await target.dial({ firstBytes: new Set() }, call)
  const reached = socket.remoteAddress
  socket.destroy()
  call.stage?.('auth')
  const session: BunApiSession = {
    get closed() {
      return closed
    },
    async ping(pinging) {
      const { status } = await ask('/health', pinging)
      if (status < 200 || status > 299)
        throw failed('protocol', 'The server answers /health with an error. Check the address, or the server itself.')
    },
    async info(asking) {
      return infoOf(await session.peerInfo(asking))
    },
    async health(asking) {
      const started = performance.now()
      const { status, body } = await ask('/health', asking)
      return {
        ok: status >= 200 && status <= 299,
        status,
        latency_ms: Math.round((performance.now() - started) * 10) / 10,
        body,
      }
    },
    async peerInfo(asking) {
      const { status, body } = await ask('/info', asking)
      if (status === 200 && typeof body === 'object' && body !== null && !Array.isArray(body))
        return body as Readonly<Record<string, unknown>>
      throw new ApiError(
        'DB_UNSUPPORTED',
        'The server does not answer /info with a JSON object, so it is no Bun API.',
        { details: { status } },
      )
    },
    async close() {
      closed = true
    },
    [Symbol.asyncDispose]: () => session.close(),
  }
  // Only asks whether the key is taken: a peer that is ill is for `health` to tell.
  await ask('/info', call)
  return session

  async function ask(path: string, asking: Call): Promise<PeerAnswer> {
    using bounded = callWithin(Math.min(limits.commandTimeoutMs, remainingMs(asking)), asking.signal)
    try {
      const response = await send(path, bounded)
      const refused = refusalOf(response.status, response.headers.get('content-encoding'))
      if (refused) {
        await response.body?.cancel()
        throw refused
      }
      return {
        status: response.status,
        body: readBody(await readCapped(response, limits.maxValueBytes), response.headers.get('content-type')),
      }
    } catch (error) {
      throw translate(error)
    }
  }

  // A name may have several addresses of which only some listen (localhost: ::1 and 127.0.0.1). The dial has waited for a silent one.
  async function send(path: string, asking: Call): Promise<Response> {
    const addresses = await target.resolve(target, asking)
    const inOrder = addresses.toSorted((a, b) => Number(b === reached) - Number(a === reached))
    let failure: unknown
    for (const address of inOrder) {
      try {
        return await sendTo(address, path, asking)
      } catch (error) {
        if (!isUnreachable(error)) throw error
        failure = error
      }
    }
    throw failure
  }

  // fetch has no hook for addresses: it is sent to the checked address itself, with the name in Host and SNI.
  function sendTo(address: string, path: string, asking: Call): Promise<Response> {
    const base = target.database === '' ? '' : `/${target.database.split('/').map(encodeURIComponent).join('/')}`
    const ca = target.config['caCertificate']
    return fetch(`${target.protocol}//${authority(address, target.port)}${base}${path}`, {
      headers: {
        host: authority(target.host, target.port === defaultPorts[target.protocol] ? undefined : target.port),
        accept: 'application/json',
        'accept-encoding': 'identity',
        ...(target.password === null ? {} : { authorization: `Bearer ${target.password}` }),
      },
      redirect: 'manual',
      keepalive: false,
      // What is small compressed may be a gigabyte before `readCapped` sees it.
      decompress: false,
      // HTTP_PROXY would take the key elsewhere, past the dial policy. Bun's types know no way to say so; a test holds it.
      proxy: false as never,
      signal: asking.signal,
      ...(target.tls === 'off'
        ? {}
        : {
            tls: {
              ...(isIP(target.host) ? {} : { serverName: target.host }),
              ...(typeof ca === 'string' ? { ca } : {}),
            },
          }),
    })
  }
}

function authority(host: string, port: number | undefined): string {
  return `${host.includes(':') ? `[${host}]` : host}${port === undefined ? '' : `:${port}`}`
}

async function readCapped(response: Response, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > maxBytes) throw new ApiError('RESULT_TOO_LARGE', `The server's answer is larger than ${maxBytes} bytes.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function infoOf(info: Readonly<Record<string, unknown>>): ServerInfo {
  const text = (value: unknown, fallback: string) => (typeof value === 'string' ? value.slice(0, 200) : fallback)
  const uptime = info['uptime_seconds']
  return {
    product: text(info['name'], 'Bun API'),
    version: text(info['version'], 'unknown'),
    uptime_seconds: typeof uptime === 'number' ? uptime : null,
    size_bytes: null,
    role: null,
    engine: { info },
    warnings: [],
  }
}
