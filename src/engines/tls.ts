import { isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type ApiError, codeOf } from '../errors.ts'
import { failed, timedOut } from './dial-errors.ts'
import type { DialOptions, Wire } from './dial.ts'
import type { Call } from './engine.ts'

/** Encrypts a connected socket as the target says; the call bounds it, and a failure destroys the socket. */
export async function encrypt(socket: Socket, options: DialOptions, wire: Wire, call: Call): Promise<Socket> {
  call.stage?.('tls')
  const guard = (error: unknown) =>
    failed('tls', 'The TLS handshake failed: the server may not speak TLS on this port.', error)
  if (wire.requestTls && !(await wire.requestTls(socket, call)))
    throw failed('tls', 'The server does not offer TLS. Connect without TLS, or turn it on at the server.')
  return new Promise((resolve, reject) => {
    const secure = connectTls({
      socket,
      ...(isIP(options.host) ? {} : { servername: options.host }),
      rejectUnauthorized: options.tls !== 'unverified',
      ...(options.caCertificate === undefined ? {} : { ca: options.caCertificate }),
      ...(options.tls === 'full' ? {} : { checkServerIdentity: () => undefined }),
    })
    const settle = (finish: () => void) => {
      call.signal.removeEventListener('abort', abort)
      secure.off('error', onError)
      secure.off('close', onClose)
      finish()
    }
    const giveUp = (error: unknown) =>
      settle(() => {
        secure.on('error', () => undefined)
        secure.destroy()
        socket.destroy()
        reject(error)
      })
    const onError = (cause: Error) => giveUp(tlsError(cause) ?? guard(cause))
    const onClose = () => giveUp(guard(undefined))
    const abort = () =>
      giveUp(timedOut('The TLS handshake did not finish in time: the server may not speak TLS on this port.'))
    secure.once('error', onError)
    secure.once('close', onClose)
    secure.once('secureConnect', () => settle(() => resolve(secure)))
    if (call.signal.aborted) abort()
    else call.signal.addEventListener('abort', abort, { once: true })
  })
}

const certificateErrors: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: 'The certificate is for another host name. Connect by the name it was issued for.',
  CERT_HAS_EXPIRED: 'The certificate has expired. Renew it at the server.',
  CERT_NOT_YET_VALID: 'The certificate is not valid yet. Check the clocks.',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'The certificate is self-signed. Put its CA into config.caCertificate.',
  SELF_SIGNED_CERT_IN_CHAIN: 'The certificate was issued by an unknown CA. Put that CA into config.caCertificate.',
  UNABLE_TO_GET_ISSUER_CERT: 'The certificate was issued by an unknown CA. Put that CA into config.caCertificate.',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'The certificate was issued by an unknown CA. Put that CA into config.caCertificate.',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'The certificate was issued by an unknown CA. Put that CA into config.caCertificate.',
}

function tlsError(cause: unknown): ApiError | undefined {
  const sentence = certificateErrors[codeOf(cause) ?? '']
  return sentence === undefined ? undefined : failed('tls', sentence, cause)
}
