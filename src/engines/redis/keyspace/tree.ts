import type { Call } from '../../engine.ts'
import type { Commands, Lanes } from '../commands.ts'
import { permitted, scannedOf, sizeOf } from './permitted.ts'
import { requestBudget, type Taken, walkKeys } from './scan-loop.ts'
import { beginsWith } from './scan-pattern.ts'
import { Seen } from './seen.ts'
import { bySlices, thenRest, type Turn } from './turns.ts'
import { type Encoding, fromBytes, type RedisValue, toArgument, toBytes } from '../values.ts'

export interface TreeRequest {
  /** The server's own cursor; `'0'` begins. */
  readonly cursor: string
  readonly prefix: RedisValue
  readonly separator: string
  /** Levels below the prefix. */
  readonly depth: number
  readonly encoding: Encoding
}

/** A name on the way to keys, from the keyspace's root and without a separator at its end. */
export interface TreeNode {
  readonly name: RedisValue
  /** 1 is directly below the prefix. */
  readonly level: number
  /** Keys met with this name or below it. */
  readonly keys: number
  /** Whether a key of just this name was met. */
  readonly is_key: boolean
  /** The met keys by type, but for those whose type the user may not ask for. */
  readonly types: Readonly<Record<string, number>>
}

export interface TreePage {
  /** In the order of their bytes. */
  readonly nodes: readonly TreeNode[]
  readonly prefix_is_key: boolean
  readonly cursor: string | null
  readonly scanned: number
  /** `null` for a user without the right to DBSIZE. */
  readonly db_size: number | null
}

/** The keyspace as a tree of names. */
export interface Tree {
  /** What a bounded walk meets below a prefix; pages of one walk are added up by whoever asks for them. */
  below(request: TreeRequest, call: Call): Promise<TreePage>
}

interface Growing {
  readonly name: Buffer
  readonly level: number
  keys: number
  isKey: boolean
  readonly types: Map<string, number>
}

interface Met {
  readonly name: Buffer
  readonly level: number
  readonly isKey: boolean
}

const maxNodes = 1_000
const keysARound = 250
// As JSON a byte may take six characters.
const maxNameBytes = 1_048_576

export function createTree({ alone }: Lanes): Tree {
  return {
    below: (request, call) => thenRest(call, (turn) => alone(call, (commands) => below(commands, request, call, turn))),
  }
}

async function below(commands: Commands, request: TreeRequest, call: Call, turn: Turn): Promise<TreePage> {
  const prefix = toBytes(request.prefix)
  const separator = Buffer.from(request.separator)
  const nodes = new Map<string, Growing>()
  // Hashes, for the names of all keys would be kept otherwise.
  const seen = new Seen()
  let nameBytes = 0
  let prefixIsKey = false

  const take = async (keys: readonly Buffer[], isLeast: boolean): Promise<Taken> => {
    const fresh = [...new Map(keys.map((key) => [key.toString('latin1'), key])).values()].filter(
      (key) => !seen.has(key),
    )
    const met = fresh.map((key) => namesOf(key, prefix.length, separator, request.depth))
    const names = new Set(met.flat().map(({ name }) => name.toString('latin1')))
    const added = [...names].filter((name) => !nodes.has(name))
    const bytes = nameBytes + added.reduce((sum, name) => sum + name.length, 0)
    const isTooMuch = nodes.size + added.length > maxNodes || bytes > maxNameBytes
    if (isTooMuch && !(isLeast && added.length <= maxNodes)) return 'too many'
    nameBytes = bytes
    if (fresh.length === 0) return 'more'
    const types = await bySlices(fresh, turn, (slice) =>
      commands.each(call, 'reads', ...slice.map((key) => ['type', toArgument(fromBytes(key))] as const)),
    )
    for (const [index, key] of fresh.entries()) {
      seen.add(key)
      const reply = permitted(types[index])
      const type = reply === undefined ? undefined : String(reply)
      // It expired since SCAN told of it.
      if (type === 'none') continue
      if (key.length === prefix.length) prefixIsKey = true
      for (const one of met[index] ?? []) count(nodes, one, type)
    }
    return 'more'
  }

  const walk = { cursor: request.cursor, pattern: beginsWith(prefix), count: keysARound, budget: requestBudget, turn }
  const { cursor, scanned } = await walkKeys(commands, walk, take, call, () => keysARound)
  const size = await sizeOf(commands, call)
  return {
    nodes: [...nodes]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { name, level, keys, isKey, types }]) => ({
        name: fromBytes(name, request.encoding),
        level,
        keys,
        is_key: isKey,
        types: Object.fromEntries(types),
      })),
    prefix_is_key: prefixIsKey,
    cursor,
    scanned: scannedOf(scanned, size),
    db_size: size,
  }
}

/** The names on the way from the prefix to a key: `a:b:c` is `a`, `a:b` and `a:b:c`, as deep as was asked for. */
function namesOf(key: Buffer, from: number, separator: Buffer, depth: number): readonly Met[] {
  const names: Met[] = []
  let start = from
  while (names.length < depth && key.length > from) {
    const end = key.indexOf(separator, start)
    const level = names.length + 1
    if (end === -1) return [...names, { name: key, level, isKey: true }]
    names.push({ name: key.subarray(0, end), level, isKey: false })
    start = end + separator.length
  }
  return names
}

function count(nodes: Map<string, Growing>, { name, level, isKey }: Met, type: string | undefined): void {
  const text = name.toString('latin1')
  const node = nodes.get(text) ?? { name, level, keys: 0, isKey: false, types: new Map<string, number>() }
  nodes.set(text, node)
  node.keys++
  node.isKey ||= isKey
  if (type !== undefined) node.types.set(type, (node.types.get(type) ?? 0) + 1)
}
