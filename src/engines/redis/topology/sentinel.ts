import { ApiError } from '../../../errors.ts'
import { failed } from '../../dial-errors.ts'
import { type Call, callWithin, type Limits, remainingMs } from '../../engine.ts'
import type { HostPort } from '../../srv.ts'
import type { Target } from '../../target.ts'
import { type Channel, openChannel } from '../wire/channel.ts'
import { replyCode } from '../errors.ts'
import { announcedPlace } from './places.ts'

/**
 * Connects to the primary that the sentinels name, asked one after the other until one names a server that is a primary. A sentinel that is
 * cut off names the old one, so what it names is asked for its role.
 */
export async function openPrimary(
  target: Target,
  limits: Limits,
  call: Call,
  sentinels: readonly HostPort[],
): Promise<Channel> {
  let failure: unknown
  let primaryFailure: unknown
  for (const [index, sentinel] of sentinels.entries()) {
    using share = callWithin(remainingMs(call) / (sentinels.length - index), call.signal)
    const asking: Call = { signal: share.signal, deadline: share.deadline, ...(call.stage && { stage: call.stage }) }
    let named: HostPort
    try {
      named = await askSentinel(target, limits, asking, sentinel)
    } catch (error) {
      failure = error
      continue
    }
    try {
      return await openNamed(target, limits, asking, named)
    } catch (error) {
      primaryFailure = error
    }
  }
  throw primaryFailure ?? failure
}

async function askSentinel(target: Target, limits: Limits, call: Call, sentinel: HostPort): Promise<HostPort> {
  const withAuth = target.config['sentinelAuth'] === true
  const credential = withAuth ? {} : { user: null, password: null }
  const channel = await openChannel({ ...target, ...credential, database: '0' }, limits, call, sentinel).catch(
    (error: unknown) => {
      throw withAuth ? error : explainAuth(error)
    },
  )
  try {
    const name = String(target.config['sentinelMaster'])
    const [outcome] = await channel.commands.each(call, 'reads', ['sentinel', 'get-master-addr-by-name', name])
    if (outcome === undefined || 'error' in outcome) throw noSentinel(outcome?.error)
    if (outcome.reply === null) throw unknownPrimary()
    const [host, port] = Array.isArray(outcome.reply) ? outcome.reply : []
    const place = announcedPlace(host, port, sentinel)
    if (place === undefined) throw noSentinel(undefined)
    return place
  } finally {
    void channel.close()
  }
}

async function openNamed(target: Target, limits: Limits, call: Call, place: HostPort): Promise<Channel> {
  const channel = await openChannel(target, limits, call, place)
  try {
    const [outcome] = await channel.commands.each(call, 'reads', ['role'])
    // A user without the right to ROLE has to take the sentinel's word.
    if (outcome !== undefined && 'error' in outcome && replyCode(outcome.error.cause) === 'NOPERM') return channel
    if (outcome === undefined || 'error' in outcome) throw outcome?.error
    const [role] = Array.isArray(outcome.reply) ? outcome.reply : []
    if (String(role) === 'master') return channel
    throw new ApiError('DB_NOT_PRIMARY', 'The sentinels name a server that is no primary yet. Try again.')
  } catch (error) {
    void channel.close()
    throw error
  }
}

function explainAuth(error: unknown): unknown {
  if (!(error instanceof ApiError) || error.code !== 'DB_INVALID_CREDENTIALS') return error
  return new ApiError(
    'DB_INVALID_CREDENTIALS',
    'The sentinel asks for a password. With config.sentinelAuth it is given the same user name and password.',
    { cause: error.cause, details: error.details },
  )
}

function noSentinel(cause: unknown): ApiError {
  const { details, message } = failed('protocol', 'The server is no sentinel. Check host, port and config.topology.')
  return new ApiError('DB_CONNECTION_FAILED', message, {
    cause,
    details: { ...(details as object), stage: 'database' },
  })
}

function unknownPrimary(): ApiError {
  return new ApiError(
    'DB_CONNECTION_FAILED',
    'The sentinels know no primary of this name. Check config.sentinelMaster.',
    { details: { reason: 'protocol', stage: 'database' } },
  )
}
