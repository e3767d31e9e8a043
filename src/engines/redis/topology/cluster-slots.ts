import { Command, Redis } from 'ioredis'
import { ApiError } from '../../../errors.ts'
import type { HostPort } from '../../srv.ts'
import type { BatchCommand, Reply } from '../wire/batch.ts'
import { notRedis } from '../errors.ts'
import { announcedPlace, placeKey } from './places.ts'

export const slotCount = 16_384
// A page's cursor names those that are done.
const maxPrimaries = 80

/** A server that owns slots. */
export interface Primary {
  /** Eight hexadecimal digits of the node's id. */
  readonly id: string
  readonly place: HostPort
}

/** Which primary owns which slot. */
export interface SlotMap {
  /** In the order of their ids. */
  readonly primaries: readonly Primary[]
  /** By slot; a slot that nobody serves has none. */
  readonly owners: (HostPort | undefined)[]
}

/** Reads the reply of CLUSTER SLOTS. */
export function readSlotMap(reply: Reply | undefined, announcer: HostPort): SlotMap {
  if (!Array.isArray(reply)) throw notRedis()
  const primaries = new Map<string, Primary>()
  const owners: (HostPort | undefined)[] = Array.from({ length: slotCount })
  for (const range of reply as readonly Reply[]) {
    const [from, to, primary] = Array.isArray(range) ? (range as readonly Reply[]) : []
    const [host, port, id, more] = Array.isArray(primary) ? (primary as readonly Reply[]) : []
    const place = announcedPlace(isUnnamed(host) ? addressIn(more) : host, port, announcer)
    const [first, last] = [Number(from), Number(to)]
    if (place === undefined || !(first >= 0 && last < slotCount)) continue
    const name = id instanceof Buffer ? id.toString('latin1').slice(0, 8) : ''
    const known = primaries.get(placeKey(place)) ?? { id: /^[0-9a-f]{8}$/.test(name) ? name : idOf(place), place }
    primaries.set(placeKey(place), known)
    if (primaries.size > maxPrimaries)
      throw new ApiError('DB_UNSUPPORTED', `The cluster has more than ${maxPrimaries} primaries.`)
    for (let slot = first; slot <= last; slot++) owners[slot] = known.place
  }
  return { primaries: [...primaries.values()].sort((one, other) => (one.id < other.id ? -1 : 1)), owners }
}

// What a node is called of which the others have not heard its name yet, where they announce names.
function isUnnamed(host: Reply | undefined): boolean {
  return host instanceof Buffer && host.equals(Buffer.from('?'))
}

/** The address of a node that is announced by another name, among the names and values that Redis 7 adds. */
function addressIn(more: Reply | undefined): Reply | undefined {
  if (!Array.isArray(more)) return undefined
  const at = (more as readonly Reply[]).findIndex((name) => name instanceof Buffer && name.equals(Buffer.from('ip')))
  return at === -1 ? undefined : (more as readonly Reply[])[at + 1]
}

// Before Redis 4 there is no id in the reply.
function idOf(place: HostPort): string {
  return new Bun.CryptoHasher('sha256').update(placeKey(place)).digest('hex').slice(0, 8)
}

/** The slot of a command's first key; `undefined` where it has none. What the driver does not know is a module's, whose first argument is a key. */
export function slotOf([name, ...args]: BatchCommand): number | undefined {
  if (!known.has(name)) return args[0] === undefined ? undefined : slotOfKey(args[0])
  // Its types say number; without a key it is null.
  return (new Command(name, args).getSlot() as number | null) ?? undefined
}

export function slotOfKey(key: string | Buffer): number {
  return new Command('get', [key]).getSlot()
}

const known: ReadonlySet<string> = new Set([...Redis.prototype.getBuiltinCommands(), 'monitor'])
