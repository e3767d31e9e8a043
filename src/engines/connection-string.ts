/** The parts of `scheme://user:password@host:port/path?options`, percent-decoded; `undefined` means absent. */
export interface ConnectionStringParts {
  readonly protocol: string
  readonly user: string | undefined
  readonly password: string | undefined
  /** At least one; lower case, without the brackets of an IPv6 literal. */
  readonly hosts: readonly HostPart[]
  readonly path: string
  /** In the order given; a name given twice appears twice. */
  readonly options: readonly (readonly [name: string, value: string])[]
}

export interface HostPart {
  readonly host: string
  readonly port: number | undefined
}

export type Parsed<T> = { readonly value: T } | { readonly problem: string }

// What is sealed is longer than what was given: one character may take nine when percent-encoded.
const maxLength = 65_536
// Code points a connection string never needs and drivers treat differently: C0 controls, space, DEL.
const forbidden = /[\u0000-\u0020\u007f]/
const hostName = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?$/

/**
 * Splits a connection string by our own rules, because the drivers' parsers accept socket paths, several hosts and options that
 * beat ours. The problem never quotes a value: any part may hold a secret.
 */
export function splitConnectionString(text: string): Parsed<ConnectionStringParts> {
  if (text.length > maxLength) return problem(`must be at most ${maxLength} characters`)
  if (!text.isWellFormed()) return problem('must not hold half of a surrogate pair')
  if (forbidden.test(text)) return problem('must not hold spaces or control characters; percent-encode them')
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)
  if (!scheme?.[1]) return problem('must begin with a scheme, such as redis:// or postgresql://')
  const rest = text.slice(scheme[0].length)
  if (rest.includes('#')) return problem('must not hold "#"; write it as %23')
  const end = rest.search(/[/?]/)
  const authority = end === -1 ? rest : rest.slice(0, end)
  const tail = end === -1 ? '' : rest.slice(end)
  if (tail.includes('@'))
    return problem('has "@" after the host; percent-encode @ : / ? # in the user name and password')

  const at = authority.lastIndexOf('@')
  const userInfo = at === -1 ? '' : authority.slice(0, at)
  if (userInfo.includes('@')) return problem('has more than one "@"; write those of the password as %40')
  const colon = userInfo.indexOf(':')
  const user = decode(colon === -1 ? userInfo : userInfo.slice(0, colon))
  const password = colon === -1 ? undefined : decode(userInfo.slice(colon + 1))
  if (user === null || password === null)
    return problem('has a malformed percent-encoding in the user name or password')
  if (user.includes('\0') || password?.includes('\0')) return problem('must not hold a NUL byte')

  const hosts: HostPart[] = []
  for (const part of authority.slice(at + 1).split(',')) {
    const host = splitHost(part)
    if ('problem' in host) return host
    hosts.push(host.value)
  }
  const query = tail.indexOf('?')
  const path = decode(query === -1 ? tail.slice(1) : tail.slice(1, query))
  if (path === null || path.includes('\0')) return problem('has a malformed percent-encoding in its path')
  const options = query === -1 ? [] : splitOptions(tail.slice(query + 1))
  if (options === null) return problem('has a malformed percent-encoding in its options')
  return {
    value: {
      protocol: `${scheme[1].toLowerCase()}:`,
      user: user === '' ? undefined : user,
      password: password === '' ? undefined : password,
      hosts,
      path,
      options,
    },
  }
}

/** Checks a host as the fields form gives it; answers it lower-cased and without brackets. */
export function checkHost(text: string): Parsed<string> {
  if (text.includes(',')) return problem('must name a single host')
  if (text.includes('%') || text.includes('/')) return problem('must be a host name or an address, not a socket path')
  const host = text.toLowerCase().replace(/^\[(.*)\]$/, '$1')
  if (host.includes(':') ? /^[0-9a-f:.]+$/.test(host) : hostName.test(host)) return { value: host }
  return problem('must be a host name or an IP address')
}

function splitHost(text: string): Parsed<HostPart> {
  const match = /^(\[[^\]]*\]|[^:[\]]*)(?::(.*))?$/.exec(text)
  if (match?.[1] === undefined)
    return problem('has a malformed host; write an IPv6 address in brackets and percent-encode the password')
  if (match[1] === '') return problem('must name a host')
  const host = checkHost(match[1])
  if ('problem' in host) return host
  if (match[2] === undefined) return { value: { host: host.value, port: undefined } }
  const port = Number(match[2])
  if (!/^\d{1,5}$/.test(match[2]) || port < 1 || port > 65_535)
    return problem('must have a port between 1 and 65535; percent-encode @ : / ? # in the password')
  return { value: { host: host.value, port } }
}

function splitOptions(query: string): [string, string][] | null {
  const options: [string, string][] = []
  for (const pair of query.split('&')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = decode(equals === -1 ? pair : pair.slice(0, equals))
    const value = decode(equals === -1 ? '' : pair.slice(equals + 1))
    if (name === null || value === null) return null
    options.push([name, value])
  }
  return options
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

function problem(sentence: string): { readonly problem: string } {
  return { problem: sentence }
}
