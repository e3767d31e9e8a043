import { checkHost } from '../../connection-string.ts'
import type { HostPort } from '../../srv.ts'
import type { Reply } from '../wire/batch.ts'

/**
 * A host and port that a server announces; `undefined` where it is none. A server that does not know its own host announces none, and is
 * where it was asked. Whether it may be dialled is for the dial policy to say.
 */
export function announcedPlace(
  host: Reply | undefined,
  port: Reply | undefined,
  announcer: HostPort,
): HostPort | undefined {
  const name = host instanceof Buffer || typeof host === 'string' ? host.toString() : ''
  const checked = name === '' || name === '?' ? { value: announcer.host } : checkHost(name)
  const number = Number(port instanceof Buffer ? port.toString('latin1') : port)
  if ('problem' in checked || !Number.isInteger(number) || number < 1 || number > 65_535) return undefined
  return { host: checked.value, port: number }
}

/** The address in a redirection, `host:port` with or without a host. */
export function redirectedPlace(text: string, announcer: HostPort): HostPort | undefined {
  const colon = text.lastIndexOf(':')
  if (colon === -1) return undefined
  return announcedPlace(text.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), text.slice(colon + 1), announcer)
}

/** To tell places apart. */
export function placeKey({ host, port }: HostPort): string {
  return `${host}:${port}`
}

export function samePlace(one: HostPort, other: HostPort): boolean {
  return one.host === other.host && one.port === other.port
}
