import { ApiError } from '../../../errors.ts'
import type { Call, Limits } from '../../engine.ts'
import type { Commands, Lanes } from '../commands.ts'
import { leftOutMark, type Position } from './set-pages.ts'
import { bytesIn, cut, type CutMark, listIn } from '../replies.ts'
import { type MemberScan, scanMembers } from './set-scan.ts'
import { type Encoding, type RedisValue, toArgument } from '../values.ts'
import { noSuchKey } from '../errors.ts'

export interface SetMember extends CutMark {
  readonly member: RedisValue
}

/** What stands for a member that is too large to be answered; without a size, for one or some that are too large to be read. */
export interface LeftOutMember extends CutMark {
  readonly member: null
}

export interface SetPageRequest {
  readonly key: RedisValue
  readonly pattern?: string | undefined
  readonly count: number
  /** Reads a part of `count` at once; see `withFewer`. */
  readonly share: number
  readonly position: Position
  readonly encoding: Encoding
}

export interface SetPage {
  readonly data: readonly (SetMember | LeftOutMember)[]
  /** Members of the whole set. */
  readonly length: number
  /** `null` after the last page. */
  readonly next: Position | null
}

/** Sets. Where a key is absent, reads throw `NOT_FOUND` and removals remove nothing. */
export interface Sets {
  /** A page by SSCAN, a few more than `count` at times; `RESULT_TOO_LARGE` may be asked again for a smaller share. */
  page(request: SetPageRequest, call: Call): Promise<SetPage>
  /** A page of this one member, or of none. */
  find(key: RedisValue, member: RedisValue, encoding: Encoding, call: Call): Promise<SetPage>
  /** Different members by chance, at most `count`. */
  random(key: RedisValue, count: number, encoding: Encoding, call: Call): Promise<readonly SetMember[]>
  /** How many are new. */
  add(key: RedisValue, members: readonly RedisValue[], call: Call): Promise<number>
  /** How many were there. */
  remove(key: RedisValue, members: readonly RedisValue[], call: Call): Promise<number>
  /** Removes and answers members by chance; throws `RESULT_TOO_LARGE` before anything is removed. */
  pop(key: RedisValue, count: number, encoding: Encoding, call: Call): Promise<readonly SetMember[]>
  /** Whether the member was in the source. */
  move(source: RedisValue, destination: RedisValue, member: RedisValue, call: Call): Promise<boolean>
}

const popRounds = 3

export function createSets({ shared, alone }: Lanes, { maxValueBytes, maxResponseBytes }: Limits): Sets {
  return {
    page({ key, encoding, ...request }, call) {
      const name = toArgument(key)
      return alone(call, async (commands) => {
        const scan: MemberScan<SetMember | LeftOutMember> = {
          ...request,
          command: 'sscan',
          key: name,
          maxBytes: maxResponseBytes,
          read: ([member]) => toMember(member, encoding),
          leftOut: (element) => ({ member: null, ...leftOutMark(element?.[0]) }),
        }
        const [[length], page] = await Promise.all([
          commands.send(call, 'reads', ['scard', name]),
          scanMembers(commands, scan, call),
        ])
        if (length === '0') throw noSuchKey()
        return { ...page, length: Number(length) }
      })
    },
    async find(key, member, encoding, call) {
      const [name, sought] = [toArgument(key), toArgument(member)]
      const [length, found] = await shared.send(call, 'reads', ['scard', name], ['sismember', name, sought])
      if (length === '0') throw noSuchKey()
      const data = found === '1' ? [toMember(Buffer.from(sought), encoding)] : []
      return { data, length: Number(length), next: null }
    },
    random(key, count, encoding, call) {
      return alone(call, async (commands) => {
        const [reply] = await commands.send(call, 'reads', ['srandmember', toArgument(key), String(count)])
        const members = listIn(reply)
        if (members.length === 0) throw noSuchKey()
        return members.map((member) => toMember(bytesIn(member), encoding))
      })
    },
    async add(key, members, call) {
      const [added] = await shared.send(call, 'writes', ['sadd', toArgument(key), ...members.map(toArgument)])
      return Number(added)
    },
    async remove(key, members, call) {
      const [removed] = await shared.send(call, 'writes', ['srem', toArgument(key), ...members.map(toArgument)])
      return Number(removed)
    },
    pop(key, count, encoding, call) {
      return alone(call, async (commands) => {
        const popped: Buffer[] = []
        for (let round = 0; round < popRounds && popped.length < count; round++) {
          const chosen = await choose(commands, toArgument(key), count - popped.length, call)
          if (chosen.length === 0) break
          popped.push(...(await take(commands, toArgument(key), chosen, call)))
        }
        return popped.map((member) => toMember(member, encoding))
      })
    },
    async move(source, destination, member, call) {
      const parts = [toArgument(source), toArgument(destination), toArgument(member)] as const
      const [moved] = await shared.send(call, 'writes', ['smove', ...parts])
      return moved === '1'
    },
  }

  function toMember(bytes: Buffer, encoding: Encoding): SetMember {
    const [member, mark] = cut(bytes, maxValueBytes, encoding)
    return { member, ...mark }
  }

  // Popped by the server itself, members that are too large to be answered would be gone.
  async function choose(
    commands: Commands,
    key: string | Buffer,
    count: number,
    call: Call,
  ): Promise<readonly Buffer[]> {
    // SPOP of none removes nothing, and is refused wherever writing is.
    const [, [reply]] = await Promise.all([
      commands.send(call, 'writes', ['spop', key, '0']),
      commands.send(call, 'reads', ['srandmember', key, String(count)]),
    ])
    const chosen = listIn(reply).map(bytesIn)
    if (chosen.some(({ length }) => length > maxValueBytes))
      throw new ApiError(
        'RESULT_TOO_LARGE',
        `A member is larger than ${maxValueBytes} bytes, the most one answer may hold of it. Nothing more was removed.`,
      )
    return chosen
  }

  // One command a member: those are answered that no other caller has taken meanwhile.
  async function take(commands: Commands, key: string | Buffer, chosen: readonly Buffer[], call: Call) {
    const replies = await commands.send(call, 'writes', ...chosen.map((member) => ['srem', key, member] as const))
    return chosen.filter((_, at) => replies[at] === '1')
  }
}
