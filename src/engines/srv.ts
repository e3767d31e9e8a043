import { resolveSrv as lookupSrv, resolveTxt as lookupTxt } from 'node:dns/promises'
import { ApiError, codeOf } from '../errors.ts'
import { checkHost } from './connection-string.ts'
import { failed } from './dial-errors.ts'
import { type Call, untilAborted } from './engine.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** What SRV and TXT records say of a deployment. */
export interface SrvAnswer {
  readonly hosts: readonly HostPort[]
  readonly options: Readonly<Record<string, string>>
}

/** DNS as `node:dns/promises` answers it; tests give their own. */
export interface SrvResolver {
  srv(name: string): Promise<readonly { readonly name: string; readonly port: number }[]>
  txt(name: string): Promise<readonly (readonly string[])[]>
}

export const systemResolver: SrvResolver = { srv: lookupSrv, txt: lookupTxt }

const maxHosts = 50
// https://github.com/mongodb/specifications/blob/master/source/initial-dns-seedlist-discovery/initial-dns-seedlist-discovery.md
const txtOptions: Readonly<Record<string, RegExp>> = {
  authSource: /^[\w-]{1,63}$/,
  replicaSet: /^[\w.-]{1,128}$/,
  loadBalanced: /^false$/,
}

/**
 * Resolves `mongodb+srv` ourselves, because the driver dials whatever the records name. The name must lie under an allowed suffix, every
 * host under the name's own parent; addresses pass the dial policy when they are dialled.
 */
export async function resolveSrv(
  host: string,
  suffixes: readonly string[],
  resolver: SrvResolver,
  call: Call,
): Promise<SrvAnswer> {
  const name = host.replace(/\.$/, '')
  if (!suffixes.some((suffix) => name.endsWith(`.${suffix.replace(/^\./, '')}`))) {
    throw new ApiError('TARGET_NOT_ALLOWED', 'mongodb+srv is only for the suffixes of MONGODB_SRV_SUFFIXES.', {
      details: { reason: 'policy' },
    })
  }
  const parent = name.slice(name.indexOf('.'))
  const records = await ask(resolver.srv(`_mongodb._tcp.${name}`), call)
  const hosts = records.map((record) => ({ host: record.name.toLowerCase().replace(/\.$/, ''), port: record.port }))
  const usable = hosts.every((found) => 'value' in checkHost(found.host) && found.port > 0 && found.port <= 65_535)
  if (hosts.length === 0 || hosts.length > maxHosts || !usable)
    throw failed('dns', 'The host has no usable SRV record.')
  if (!hosts.every((found) => found.host.endsWith(parent))) {
    throw new ApiError('TARGET_NOT_ALLOWED', 'The SRV record names hosts outside its own domain.', {
      details: { reason: 'policy' },
    })
  }
  const texts = await ask(resolver.txt(name), call).catch((error: unknown) => {
    if (isAbsent(error instanceof ApiError ? error.cause : error)) return []
    throw error
  })
  return { hosts, options: readOptions(texts) }
}

function readOptions(texts: readonly (readonly string[])[]): Readonly<Record<string, string>> {
  if (texts.length > 1) throw failed('dns', 'The host has more than one TXT record.')
  const options: Record<string, string> = {}
  for (const [name, value] of new URLSearchParams(texts[0]?.join('') ?? '')) {
    const allowed = Object.hasOwn(txtOptions, name) && txtOptions[name]?.test(value) && !Object.hasOwn(options, name)
    if (!allowed) throw failed('dns', 'The TXT record of the host holds an option that is not allowed there.')
    if (name !== 'loadBalanced') options[name] = value
  }
  return options
}

async function ask<T>(work: Promise<T>, call: Call): Promise<T> {
  try {
    return await untilAborted(work, call.signal)
  } catch (cause) {
    if (call.signal.aborted)
      throw new ApiError('DB_TIMEOUT', 'The host name could not be resolved in time.', {
        cause,
        details: { reason: 'timeout' },
      })
    throw failed('dns', 'The host has no SRV record that can be resolved. Check its spelling.', cause)
  }
}

function isAbsent(error: unknown): boolean {
  return ['ENOTFOUND', 'ENODATA', 'DNS_ENOTFOUND', 'DNS_ENODATA'].includes(codeOf(error) ?? '')
}
